-- The ledger: live state that must be consistent across processes. History lives in the lake.

create table organisation (
    organisation_id text primary key check (organisation_id ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    name            text not null,
    postal_address  text not null default '',
    created_at      timestamptz not null default now()
);

-- One row per applied version of a campaign file; applying the latest content again adds none, going back to an
-- earlier one does.
create table campaign_version (
    campaign_id     text not null,
    version         integer not null,
    organisation_id text not null references organisation,
    digest          text not null,
    spec            jsonb not null,
    templates       jsonb not null,
    applied_at      timestamptz not null default now(),
    primary key (campaign_id, version)
);

-- A send is one occurrence of a campaign and one Dagster partition.
create table send (
    send_id          text primary key,
    campaign_id      text not null,
    version          integer not null,
    due_at           timestamptz not null,
    status           text not null default 'scheduled'
        check (status in ('scheduled', 'sending', 'paused', 'sent', 'failed', 'cancelled')),
    requested_run_at timestamptz,
    created_at       timestamptz not null default now(),
    completed_at     timestamptz,
    foreign key (campaign_id, version) references campaign_version
);
create index send_due on send (due_at) where requested_run_at is null and status = 'scheduled';

-- What a batch's messages have in common: skeletons, sender, subject. Kept once, by digest.
create table content (
    content_id text primary key,
    body       jsonb not null
);

-- A generation of a send's plan is enqueued in one transaction or not at all.
create table enqueued (
    send_id    text not null references send,
    generation integer not null,
    messages   integer not null,
    enqueued_at timestamptz not null default now(),
    primary key (send_id, generation)
);

create sequence fence;

create table batch (
    batch_id        bigint generated always as identity primary key,
    send_id         text not null references send,
    organisation_id text not null references organisation,
    generation      integer not null,
    lane            text not null,
    channel         text not null,
    content_id      text not null references content,
    priority        smallint not null default 2,  -- 0 emergency, 1 transactional, 2 bulk
    message_count   integer not null check (message_count > 0),
    payload         bytea,                        -- Arrow IPC, zstd; personal data, dropped once settled
    status          text not null default 'planned'
        check (status in ('planned', 'claimed', 'sending', 'settled', 'unknown', 'dead', 'cancelled')),
    due_at          timestamptz not null,
    attempt         smallint not null default 0,
    fence           bigint not null default 0,
    claimed_by      text,
    lease_until     timestamptz,
    sending_at      timestamptz,
    settled_at      timestamptz,
    last_error      text,
    -- What could surely not be sent goes on in a child batch; the parent stays as the record of the attempt.
    parent_batch_id bigint references batch,
    created_at      timestamptz not null default now(),
    -- Personal data leaves the ledger the moment nothing more can be sent.
    check (payload is not null or status in ('settled', 'dead', 'cancelled'))
);
create index batch_claimable on batch (lane, priority, due_at, batch_id) where status = 'planned';
create index batch_in_flight on batch (lease_until) where status in ('claimed', 'sending');
create index batch_send on batch (send_id, status);

-- Append-only feed: what became of a batch's messages. Loaded into the lake, then purged.
create table outcome (
    outcome_id  bigint generated always as identity primary key,
    batch_id    bigint not null references batch,
    send_id     text not null,
    results     bytea not null,                   -- Arrow IPC, zstd: ids, statuses, reasons; no addresses
    recorded_at timestamptz not null default now(),
    recorded_xact xid8 not null default pg_current_xact_id()
);
create index outcome_feed on outcome (recorded_xact, outcome_id);

-- Append-only feed: webhooks as they came, verified, before anything is parsed.
create table landing (
    landing_id  bigint generated always as identity primary key,
    provider    text not null,
    kind        text not null,
    received_at timestamptz not null default now(),
    query       text not null default '',
    body        bytea not null,
    recorded_xact xid8 not null default pg_current_xact_id()
);
create index landing_feed on landing (recorded_xact, landing_id);

-- Whom we must not reach. The address is kept as a keyed HMAC only. Organisation '*' means every one.
create table suppression (
    organisation_id text not null,
    channel         text not null check (channel in ('email', 'sms', 'whatsapp')),
    address_key     bytea not null,
    key_version     smallint not null default 1,
    reason          text not null check (reason in
        ('unsubscribed', 'complained', 'bounced', 'invalid', 'stopped', 'manual', 'erased')),
    source          text not null,
    contact_id      text,
    created_at      timestamptz not null default now(),
    primary key (organisation_id, channel, address_key)
);

create table audit (
    audit_id   bigint generated always as identity primary key,
    at         timestamptz not null default now(),
    actor      text not null,
    action     text not null,
    subject    text not null,
    details    jsonb not null default '{}'
);
