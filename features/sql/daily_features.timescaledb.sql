-- Readings by day of UTC, of every metric. Real-time: what is not materialized yet is computed when asked for.
-- Refreshed by a policy and, for what arrives late, by a task; see features/aggregates.py.
CREATE MATERIALIZED VIEW daily_features
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
    tenant_id,
    asset_id,
    metric,
    time_bucket(INTERVAL '1 day', timestamp) AS bucket,
    count(*) AS readings,
    avg(value) AS daily_avg,
    stddev_samp(value) AS daily_std,
    min(value) AS daily_min,
    max(value) AS daily_max,
    percentile_cont(0.1) WITHIN GROUP (ORDER BY value) AS daily_p10,
    percentile_cont(0.9) WITHIN GROUP (ORDER BY value) AS daily_p90
FROM timeseries_data
WHERE (quality IS NULL OR quality NOT IN ('bad', 'invalid', 'error', 'faulty', 'missing', 'rejected'))
GROUP BY tenant_id, asset_id, metric, time_bucket(INTERVAL '1 day', timestamp)
WITH NO DATA;
