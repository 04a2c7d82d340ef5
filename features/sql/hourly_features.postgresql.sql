-- Readings by hour of UTC, of every metric: those still there as a plain view, before them what retention kept.
CREATE TABLE IF NOT EXISTS hourly_features_kept (
    tenant_id varchar(64) NOT NULL,
    asset_id varchar(128) NOT NULL,
    metric varchar(64) NOT NULL,
    bucket timestamptz NOT NULL,
    readings bigint NOT NULL,
    hourly_avg float8,
    hourly_std float8,
    hourly_min float8,
    hourly_max float8,
    hourly_median float8,
    PRIMARY KEY (tenant_id, asset_id, metric, bucket)
);
CREATE OR REPLACE VIEW hourly_features_live AS
SELECT
    tenant_id,
    asset_id,
    metric,
    date_bin(INTERVAL '1 hour', timestamp, TIMESTAMPTZ '2000-01-01 00:00+00') AS bucket,
    count(*) AS readings,
    avg(value) AS hourly_avg,
    stddev_samp(value) AS hourly_std,
    min(value) AS hourly_min,
    max(value) AS hourly_max,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY value) AS hourly_median
FROM timeseries_data
WHERE (quality IS NULL OR quality NOT IN ('bad', 'invalid', 'error', 'faulty', 'missing', 'rejected'))
GROUP BY tenant_id, asset_id, metric, date_bin(INTERVAL '1 hour', timestamp, TIMESTAMPTZ '2000-01-01 00:00+00');
CREATE OR REPLACE VIEW hourly_features AS
SELECT * FROM hourly_features_kept
UNION ALL
SELECT * FROM hourly_features_live
WHERE bucket >= coalesce(
    (SELECT cut.before FROM retention_cuts AS cut WHERE cut.table_name = 'timeseries_data'), '-infinity'
);
