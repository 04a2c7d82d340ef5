-- Readings by day of UTC, of every metric: those still there as a plain view, before them what retention kept.
CREATE TABLE IF NOT EXISTS daily_features_kept (
    tenant_id varchar(64) NOT NULL,
    asset_id varchar(128) NOT NULL,
    metric varchar(64) NOT NULL,
    bucket timestamptz NOT NULL,
    readings bigint NOT NULL,
    daily_avg float8,
    daily_std float8,
    daily_min float8,
    daily_max float8,
    daily_p10 float8,
    daily_p90 float8,
    PRIMARY KEY (tenant_id, asset_id, metric, bucket)
);
CREATE OR REPLACE VIEW daily_features_live AS
SELECT
    tenant_id,
    asset_id,
    metric,
    date_bin(INTERVAL '1 day', timestamp, TIMESTAMPTZ '2000-01-01 00:00+00') AS bucket,
    count(*) AS readings,
    avg(value) AS daily_avg,
    stddev_samp(value) AS daily_std,
    min(value) AS daily_min,
    max(value) AS daily_max,
    percentile_cont(0.1) WITHIN GROUP (ORDER BY value) AS daily_p10,
    percentile_cont(0.9) WITHIN GROUP (ORDER BY value) AS daily_p90
FROM timeseries_data
WHERE (quality IS NULL OR quality NOT IN ('bad', 'invalid', 'error', 'faulty', 'missing', 'rejected'))
GROUP BY tenant_id, asset_id, metric, date_bin(INTERVAL '1 day', timestamp, TIMESTAMPTZ '2000-01-01 00:00+00');
CREATE OR REPLACE VIEW daily_features AS
SELECT * FROM daily_features_kept
UNION ALL
SELECT * FROM daily_features_live
WHERE bucket >= coalesce(
    (SELECT cut.before FROM retention_cuts AS cut WHERE cut.table_name = 'timeseries_data'), '-infinity'
);
