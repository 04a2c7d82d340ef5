-- What was done and what was refused, and the chain that shows tampering. Written by triggers and INSERT alone: the
-- database refuses UPDATE, DELETE and TRUNCATE, also to who replicates (ENABLE ALWAYS).

CREATE TABLE audit_records (
    id uuid PRIMARY KEY,
    tenant_id varchar(64) NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    outcome varchar(8) NOT NULL CHECK (outcome IN ('done', 'refused')),
    verb varchar(32) NOT NULL CHECK (verb <> ''),
    kind varchar(64) NOT NULL,
    object_id varchar(255) NOT NULL,
    subject varchar(255) NOT NULL,
    username varchar(255) NOT NULL,
    before varchar(64) NOT NULL,
    after varchar(64) NOT NULL,
    facts jsonb NOT NULL,
    request_id varchar(128) NOT NULL,
    salt varchar(32) NOT NULL
);
CREATE INDEX audit_records_newest ON audit_records (tenant_id, at DESC, id DESC);
CREATE INDEX audit_records_erased ON audit_records (tenant_id, at) WHERE verb = 'erased';

CREATE TABLE audit_links (
    record_id uuid PRIMARY KEY,
    tenant_id varchar(64) NOT NULL,
    number bigint NOT NULL CHECK (number > 0),
    linked_at timestamptz NOT NULL,
    content char(64) NOT NULL,
    digest char(64) NOT NULL,
    CONSTRAINT audit_links_number_once UNIQUE (tenant_id, number)
);
CREATE INDEX audit_links_newest ON audit_links (linked_at);

-- sha256 of the parts, each behind its length, so that no two lists of parts look alike.
CREATE FUNCTION audit_digest(VARIADIC parts text[]) RETURNS text LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT encode(sha256(convert_to(string_agg(octet_length(part) || ':' || part, '' ORDER BY place), 'UTF8')), 'hex')
    FROM unnest(parts) WITH ORDINALITY AS listed (part, place)
$$;

CREATE FUNCTION audit_time(moment timestamptz) RETURNS text LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

-- At the end of the transaction, so that the tenant's other writers wait for a commit and not for our work.
CREATE FUNCTION audit_link() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    now_linked timestamptz;
    content text := audit_digest(
        NEW.id::text, NEW.tenant_id, audit_time(NEW.at), NEW.outcome, NEW.verb, NEW.kind, NEW.object_id,
        NEW.subject, NEW.username, NEW.before, NEW.after, NEW.facts::text, NEW.request_id, NEW.salt);
    last_number bigint;
    last_digest text;
BEGIN
    PERFORM pg_advisory_xact_lock(803002, hashtext(NEW.tenant_id));
    SELECT number, digest INTO last_number, last_digest FROM audit_links
        WHERE tenant_id = NEW.tenant_id ORDER BY number DESC LIMIT 1;
    last_number := coalesce(last_number, 0) + 1;
    now_linked := clock_timestamp();
    INSERT INTO audit_links (record_id, tenant_id, number, linked_at, content, digest) VALUES (
        NEW.id, NEW.tenant_id, last_number, now_linked, content,
        audit_digest(coalesce(last_digest, ''), NEW.tenant_id, last_number::text, NEW.id::text,
            audit_time(now_linked), content));
    RETURN NULL;
END $$;

-- A record may go once the erasure of its tenant is itself a record; links never.
CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND TG_TABLE_NAME = 'audit_records' THEN
        IF OLD.verb <> 'erased' AND EXISTS (
            SELECT FROM audit_records AS erasure
            WHERE erasure.tenant_id = OLD.tenant_id AND erasure.verb = 'erased' AND erasure.at >= OLD.at
        ) THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;

CREATE CONSTRAINT TRIGGER audit_link AFTER INSERT ON audit_records
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audit_link();
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON audit_records
    FOR EACH ROW EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit_records
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON audit_links
    FOR EACH ROW EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit_links
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
ALTER TABLE audit_records ENABLE ALWAYS TRIGGER audit_append_only;
ALTER TABLE audit_records ENABLE ALWAYS TRIGGER audit_no_truncate;
ALTER TABLE audit_links ENABLE ALWAYS TRIGGER audit_append_only;
ALTER TABLE audit_links ENABLE ALWAYS TRIGGER audit_no_truncate;
