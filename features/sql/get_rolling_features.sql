-- One row: the readings of [as_of - hours, as_of), NULL where there are none (rolling_std: fewer than two).
CREATE OR REPLACE FUNCTION get_rolling_features(tenant text, asset text, as_of timestamptz, hours int)
RETURNS TABLE (
    readings bigint,
    rolling_avg float8,
    rolling_std float8,
    rolling_min float8,
    rolling_max float8,
    rolling_range float8,
    rolling_median float8,
    rolling_p10 float8,
    rolling_p90 float8
)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
SELECT
    count(*),
    avg(reading.value),
    stddev_samp(reading.value),
    min(reading.value),
    max(reading.value),
    max(reading.value) - min(reading.value),
    percentile_cont(0.5) WITHIN GROUP (ORDER BY reading.value),
    percentile_cont(0.1) WITHIN GROUP (ORDER BY reading.value),
    percentile_cont(0.9) WITHIN GROUP (ORDER BY reading.value)
FROM timeseries_data AS reading
WHERE reading.tenant_id = tenant
    AND reading.asset_id = asset
    AND reading.metric = 'value'
    AND reading.timestamp >= as_of - make_interval(hours => get_rolling_features.hours)
    AND reading.timestamp < as_of
    AND (reading.quality IS NULL OR reading.quality NOT IN ('bad', 'invalid', 'error', 'faulty', 'missing', 'rejected'));
END
