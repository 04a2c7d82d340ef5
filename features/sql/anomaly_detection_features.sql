-- The set anomaly_detection as of every full hour of the last 14 days of each asset, for people who work in SQL.
-- Times of the calendar are those of the asset's wall. Refreshed concurrently by the task features.refresh_views.
CREATE MATERIALIZED VIEW anomaly_detection_features AS
SELECT
    asset.tenant_id,
    asset.asset_id,
    moment.as_of AS timestamp,
    extract(HOUR FROM moment.as_of AT TIME ZONE asset.timezone)::int AS hour_of_day,
    extract(ISODOW FROM moment.as_of AT TIME ZONE asset.timezone)::int - 1 AS day_of_week,
    day.historical_avg_24h,
    day.historical_std_24h,
    day.max_24h,
    day.min_24h,
    day.max_24h - day.min_24h AS range_24h
FROM features_asset AS asset
CROSS JOIN LATERAL (
    SELECT reading.timestamp
    FROM timeseries_data AS reading
    WHERE reading.tenant_id = asset.tenant_id AND reading.asset_id = asset.asset_id AND reading.metric = 'value'
        AND (reading.quality IS NULL OR reading.quality NOT IN ('bad', 'invalid', 'error', 'faulty', 'missing', 'rejected'))
    ORDER BY reading.timestamp DESC
    LIMIT 1
) AS newest
CROSS JOIN LATERAL (
    SELECT reading.timestamp
    FROM timeseries_data AS reading
    WHERE reading.tenant_id = asset.tenant_id AND reading.asset_id = asset.asset_id AND reading.metric = 'value'
        AND (reading.quality IS NULL OR reading.quality NOT IN ('bad', 'invalid', 'error', 'faulty', 'missing', 'rejected'))
    ORDER BY reading.timestamp
    LIMIT 1
) AS oldest
CROSS JOIN LATERAL generate_series(
    date_bin(
        INTERVAL '1 hour',
        greatest(oldest.timestamp, newest.timestamp - INTERVAL '336 hours'),
        TIMESTAMPTZ '2000-01-01 00:00+00'
    ) + INTERVAL '1 hour',
    date_bin(INTERVAL '1 hour', newest.timestamp, TIMESTAMPTZ '2000-01-01 00:00+00') + INTERVAL '1 hour',
    INTERVAL '1 hour'
) AS moment (as_of)
CROSS JOIN LATERAL (
    SELECT
        avg(reading.value) AS historical_avg_24h,
        stddev_samp(reading.value) AS historical_std_24h,
        max(reading.value) AS max_24h,
        min(reading.value) AS min_24h
    FROM timeseries_data AS reading
    WHERE reading.tenant_id = asset.tenant_id
        AND reading.asset_id = asset.asset_id
        AND reading.metric = 'value'
        AND reading.timestamp >= moment.as_of - INTERVAL '24 hours'
        AND reading.timestamp < moment.as_of
        AND (reading.quality IS NULL OR reading.quality NOT IN ('bad', 'invalid', 'error', 'faulty', 'missing', 'rejected'))
) AS day;
CREATE UNIQUE INDEX anomaly_detection_features_once ON anomaly_detection_features (tenant_id, asset_id, timestamp);
