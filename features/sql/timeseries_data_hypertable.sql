-- The primary key (tenant_id, asset_id, metric, timestamp) serves every query; no default index on time alone.
SELECT create_hypertable(
    'timeseries_data', 'timestamp',
    chunk_time_interval => INTERVAL '30 days',
    create_default_indexes => FALSE,
    if_not_exists => TRUE,
    migrate_data => TRUE
);
