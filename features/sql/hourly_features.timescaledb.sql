-- Readings by hour of UTC, of every metric. Real-time: what is not materialized yet is computed when asked for.
-- Refreshed by a policy and, for what arrives late, by a task; see features/aggregates.py.
CREATE MATERIALIZED VIEW hourly_features
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
    tenant_id,
    asset_id,
    metric,
    time_bucket(INTERVAL '1 hour', timestamp) AS bucket,
    count(*) AS readings,
    avg(value) AS hourly_avg,
    stddev_samp(value) AS hourly_std,
    min(value) AS hourly_min,
    max(value) AS hourly_max,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY value) AS hourly_median
FROM timeseries_data
WHERE (quality IS NULL OR quality NOT IN ('bad', 'invalid', 'error', 'faulty', 'missing', 'rejected'))
GROUP BY tenant_id, asset_id, metric, time_bucket(INTERVAL '1 hour', timestamp)
WITH NO DATA;
