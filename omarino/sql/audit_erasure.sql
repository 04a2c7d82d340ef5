-- An erasure takes all that a tenant has in the audit, or nothing: a record 'erased' is no licence to take one away.
CREATE FUNCTION audit_refuse_part() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM audit_records AS kept
        WHERE kept.verb <> 'erased' AND kept.tenant_id IN (SELECT DISTINCT gone.tenant_id FROM gone)
    ) THEN
        RAISE EXCEPTION 'audit_records is append-only: an erasure takes all records of a tenant, or none'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER audit_all_or_none AFTER DELETE ON audit_records
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_part();
ALTER TABLE audit_records ENABLE ALWAYS TRIGGER audit_all_or_none;

-- Taken before an erasure looks for what there is: until it ends no other transaction adds a record of the tenant, so
-- every link before the erasure's is of a record that it saw, and `verify_audit` can demand that all of them are gone.
CREATE FUNCTION audit_hold(tenant varchar) RETURNS void LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(803002, hashtext(tenant))
$$;
