-- The primary key serves every query, as with timeseries_data.
SELECT create_hypertable(
    'ai_features', 'timestamp',
    chunk_time_interval => INTERVAL '30 days',
    create_default_indexes => FALSE,
    if_not_exists => TRUE,
    migrate_data => TRUE
);
