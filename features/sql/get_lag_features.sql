-- For each lag, in hours, the reading in whose interval as_of - lag lies: a row each, NULL in a gap.
-- A lag below one hour has no answer: it could see what is not over yet.
CREATE OR REPLACE FUNCTION get_lag_features(tenant text, asset text, as_of timestamptz, lags int[])
RETURNS TABLE (lag_hours int, value float8)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
SELECT lag.hours, found.value
FROM unnest(lags) WITH ORDINALITY AS lag (hours, place)
LEFT JOIN features_asset AS known ON known.tenant_id = tenant AND known.asset_id = asset
LEFT JOIN LATERAL (
    SELECT reading.value
    FROM timeseries_data AS reading
    WHERE reading.tenant_id = tenant
        AND reading.asset_id = asset
        AND reading.metric = 'value'
        AND reading.timestamp <= as_of - make_interval(hours => lag.hours)
        AND reading.timestamp > as_of - make_interval(
            hours => lag.hours, mins => coalesce(known.interval_minutes, 60)
        )
        AND (reading.quality IS NULL OR reading.quality NOT IN ('bad', 'invalid', 'error', 'faulty', 'missing', 'rejected'))
    ORDER BY reading.timestamp DESC
    LIMIT 1
) AS found ON lag.hours >= 1
ORDER BY lag.place;
END
