-- The lake's tables. DuckLake knows no constraints: keys are stated here and tested by asset checks.
-- Every statement can run again. Times are UTC. Ids are never personal data.

create schema if not exists raw;
create schema if not exists core;
create schema if not exists campaign;
create schema if not exists mart;

-- Grain: one feed. How far each ledger feed has been loaded; written in the transaction that loads it.
create table if not exists raw.watermarks (
    feed      varchar not null,
    xact      ubigint not null,
    last_id   bigint not null,
    loaded_at timestamp with time zone not null
);

-- Grain: one import of one file.
create table if not exists raw.contact_imports (
    import_id       varchar not null,
    organisation_id varchar not null,
    source_name     varchar not null,
    row_count       bigint not null,
    contact_count   bigint not null,
    rejected_rows   bigint not null,
    imported_at     timestamp with time zone not null
);

-- Grain: one fault of one row of one imported file. Severity 'row': no contact came of it.
create table if not exists raw.contact_rejects (
    import_id   varchar not null,
    source_row  bigint not null,
    column_name varchar,  -- null: the row could not be split into columns
    reason      varchar not null,
    severity    varchar not null
);

-- Grain: one contact (contact_id). The only table with addresses and names.
create table if not exists core.contacts (
    contact_id      varchar not null,
    organisation_id varchar not null,
    external_id     varchar,
    email           varchar,
    phone           varchar,
    name            varchar,
    language        varchar,
    time_zone       varchar,
    country         varchar,
    region          varchar,
    postcode        varchar,
    attributes      varchar not null,
    consent_source  varchar,
    consent_kind    varchar,  -- express, implied, … as the import said
    consent_at      timestamp with time zone,
    is_erased       boolean not null,
    created_at      timestamp with time zone not null,
    updated_at      timestamp with time zone not null
);

-- Grain: one send. What the ledger knows of it, for those who only read the lake.
create table if not exists campaign.sends (
    send_id         varchar not null,
    campaign_id     varchar not null,
    version         integer not null,
    organisation_id varchar not null,
    message_class   varchar not null,
    due_at          timestamp with time zone not null
);

-- Grain: one contact of one send's audience.
create table if not exists campaign.audiences (
    send_id     varchar not null,
    contact_id  varchar not null,
    selected_at timestamp with time zone not null
);

-- Grain: one contact and channel of one send. Every rule that applied, not only the first.
create table if not exists campaign.decisions (
    send_id      varchar not null,
    contact_id   varchar not null,
    channel      varchar not null,
    decision     varchar not null,  -- allowed, deferred, excluded
    rules        struct(rule_id varchar, version integer, evidence varchar)[] not null,
    decided_at   timestamp with time zone not null,
    not_before   timestamp with time zone,  -- of what is deferred: the first minute at which it may go
    hours        varchar                    -- when the contact may be reached; null: at any time
);
alter table campaign.decisions add column if not exists not_before timestamp with time zone;
alter table campaign.decisions add column if not exists hours varchar;

-- Grain: one message (message_id). The plan: who gets what, when, through what. Append-only.
create table if not exists campaign.messages (
    send_id      varchar not null,
    generation   integer not null,
    message_id   varchar not null,
    contact_id   varchar not null,
    channel      varchar not null,
    lane         varchar not null,
    variant      varchar not null,
    language     varchar,
    score        double not null,    -- personalization score, 0-1
    segments     integer,            -- SMS segments; null for e-mail
    due_at       timestamp with time zone not null,
    planned_at   timestamp with time zone not null,
    topic        varchar,            -- the type of message people choose by
    hours        varchar             -- when the contact may be reached; null: at any time
);
alter table campaign.messages add column if not exists topic varchar;
alter table campaign.messages add column if not exists hours varchar;

-- Grain: one send. Its books as they were balanced last: lake, ledger and the providers' events.
create table if not exists campaign.reconciliations (
    send_id       varchar not null,
    planned       bigint not null,
    accepted      bigint not null,
    refused       bigint not null,
    deferred      bigint not null,
    cancelled     bigint not null,
    unknown       bigint not null,
    waiting       bigint not null,
    confirmed     bigint not null,   -- accepted messages of which the provider told any event
    contradicted  bigint not null,   -- refused or cancelled ones that were delivered all the same
    enqueued      bigint not null,   -- as the ledger counts
    held          bigint not null,   -- waiting, in flight or in doubt in the ledger
    is_balanced   boolean not null,
    reconciled_at timestamp with time zone not null
);

-- Grain: one recorded outcome of one message; the highest outcome_id of a message is its state.
create table if not exists core.outcomes (
    outcome_id          bigint not null,
    batch_id            bigint not null,
    send_id             varchar not null,
    message_id          varchar not null,
    status              varchar not null,
    reason              varchar,
    code                varchar,
    provider            varchar not null,
    provider_message_id varchar,
    recorded_at         timestamp with time zone not null,
    load_id             bigint             -- of the run that loaded it, growing; outcome ids may come out of order
);
alter table core.outcomes add column if not exists load_id bigint;

-- Grain: one event as a provider told it, personal fields removed; told again, it is another row. Kept also when
-- nothing matches it.
create table if not exists raw.provider_events (
    landing_id          bigint not null,
    position            integer not null,  -- in its webhook, from 0
    provider            varchar not null,
    received_at         timestamp with time zone not null,
    kind                varchar not null,
    raw_kind            varchar not null,
    occurred_at         timestamp with time zone not null,
    organisation_id     varchar,
    message_id          varchar,
    provider_message_id varchar,
    provider_event_id   varchar,
    reason              varchar,
    code                varchar,
    url                 varchar,
    user_agent          varchar,
    is_machine          boolean not null,
    payload             varchar not null,
    load_id             bigint,            -- one number per commit of the loader, growing; null: loaded before it was kept
    ip_key              varchar,           -- keyed hash of the client's address, hex
    is_head             boolean,
    is_prefetch         boolean
);
alter table raw.provider_events add column if not exists load_id bigint;
alter table raw.provider_events add column if not exists ip_key varchar;
alter table raw.provider_events add column if not exists is_head boolean;
alter table raw.provider_events add column if not exists is_prefetch boolean;

-- Grain: one webhook body (or part of one) that no parser understood, with the reason. The body stays in the ledger's landing.
create table if not exists raw.event_rejects (
    landing_id  bigint not null,
    provider    varchar not null,
    received_at timestamp with time zone not null,
    reason      varchar not null
);

-- Grain: one event that happened once (event_id), however often it was told.
create table if not exists core.events (
    event_id            varchar not null,
    message_id          varchar,
    send_id             varchar,
    contact_id          varchar,
    channel             varchar,
    organisation_id     varchar,
    provider            varchar not null,
    kind                varchar not null,
    occurred_at         timestamp with time zone not null,
    received_at         timestamp with time zone not null,
    reason              varchar,
    code                varchar,
    url                 varchar,
    verdict             varchar not null,  -- human, machine, proxy, unknown
    verdict_score       double,            -- 0 surely human … 1 surely machine; null: not scored
    verdict_reasons     varchar[],
    verdict_version     integer,           -- of the rules that scored it
    user_agent          varchar,
    ip_key              varchar,           -- keyed hash of the client's address, hex
    is_head             boolean,
    is_prefetch         boolean,
    is_told_machine     boolean,           -- the provider said that no person did it
    match               varchar,           -- how its message was found: message_id, provider_id, unmatched
    load_id             bigint,            -- of the run that wrote the row, growing; whoever changes a row gives it a new one
    provider_message_id varchar
);
alter table core.events add column if not exists verdict_score double;
alter table core.events add column if not exists verdict_reasons varchar[];
alter table core.events add column if not exists verdict_version integer;
alter table core.events add column if not exists user_agent varchar;
alter table core.events add column if not exists ip_key varchar;
alter table core.events add column if not exists is_head boolean;
alter table core.events add column if not exists is_prefetch boolean;
alter table core.events add column if not exists is_told_machine boolean;
alter table core.events add column if not exists match varchar;
alter table core.events add column if not exists load_id bigint;
alter table core.events add column if not exists provider_message_id varchar;

-- Grain: one message of which an outcome or an event is known. Its furthest step, and when it made each.
create table if not exists core.message_status (
    message_id             varchar not null,
    send_id                varchar,
    contact_id             varchar,
    channel                varchar,
    organisation_id        varchar,
    status                 varchar not null,
    status_rank            tinyint not null,
    accepted_at            timestamp with time zone,
    sent_at                timestamp with time zone,
    deferred_at            timestamp with time zone,
    delivered_at           timestamp with time zone,
    bounced_at             timestamp with time zone,
    failed_at              timestamp with time zone,
    first_opened_at        timestamp with time zone,
    first_human_opened_at  timestamp with time zone,
    first_clicked_at       timestamp with time zone,
    first_human_clicked_at timestamp with time zone,
    complained_at          timestamp with time zone,
    unsubscribed_at        timestamp with time zone,
    opens                  bigint not null,
    human_opens            bigint not null,
    clicks                 bigint not null,
    human_clicks           bigint not null,
    last_event_at          timestamp with time zone,
    updated_at             timestamp with time zone not null
);

-- Grain: one business event (a purchase, a booking …) that was told, once per idempotency key.
create table if not exists core.business_events (
    event_id        varchar not null,
    organisation_id varchar not null,
    type            varchar not null,
    contact_id      varchar,
    occurred_at     timestamp with time zone not null,
    received_at     timestamp with time zone not null,
    value_micros    bigint,
    currency        varchar,
    properties      varchar not null,  -- JSON
    idempotency_key varchar not null,
    source          varchar not null
);

-- Grain: one business event credited to one message.
create table if not exists core.conversions (
    event_id            varchar not null,
    message_id          varchar not null,
    send_id             varchar not null,
    contact_id          varchar not null,
    organisation_id     varchar not null,
    channel             varchar not null,
    variant             varchar,
    type                varchar not null,
    occurred_at         timestamp with time zone not null,
    touch_kind          varchar not null,
    touched_at          timestamp with time zone not null,
    seconds_since_touch bigint not null,
    value_micros        bigint,
    currency            varchar,
    model               varchar not null,  -- last_touch
    window_hours        integer not null
);

-- Grain: one contact that ever got a message.
create table if not exists core.engagement (
    contact_id       varchar not null,
    messages         bigint not null,
    delivered        bigint not null,
    human_opens      bigint not null,
    human_clicks     bigint not null,
    last_engaged_at  timestamp with time zone,
    engagement_score double not null,
    computed_at      timestamp with time zone not null
);

-- Grain: one contact and channel that ever got a message.
create table if not exists core.channel_affinity (
    contact_id    varchar not null,
    channel       varchar not null,
    messages      bigint not null,
    human_engaged bigint not null,
    affinity      double not null,  -- 0-1, smoothed
    computed_at   timestamp with time zone not null
);

-- Grain: one contact and hour of the day in which it ever opened or clicked.
create table if not exists core.send_hours (
    contact_id  varchar not null,
    local_hour  tinyint not null,  -- 0-23 by the contact's clock; by UTC for contacts without a time zone
    weight      double not null,   -- messages opened or clicked then, fading with time
    computed_at timestamp with time zone not null
);

-- Grain: one send, channel and variant.
create table if not exists mart.campaign_performance (
    send_id          varchar not null,
    campaign_id      varchar not null,
    channel          varchar not null,
    variant          varchar not null,
    messages         bigint not null,
    accepted         bigint not null,
    refused          bigint not null,
    deferred         bigint not null,
    cancelled        bigint not null,
    unknown          bigint not null,
    waiting          bigint not null,
    delivered        bigint not null,
    bounced          bigint not null,
    opened           bigint not null,
    human_opened     bigint not null,
    clicked          bigint not null,
    unsubscribed     bigint not null,
    complained       bigint not null,
    delivery_rate    double,
    open_rate        double,
    human_open_rate  double,
    click_rate       double,
    unsubscribe_rate double,
    complaint_rate   double,
    bounce_rate      double,
    computed_at      timestamp with time zone not null
);

-- Grain: one send. The funnel everything must sum to.
create table if not exists mart.send_funnel (
    send_id     varchar not null,
    campaign_id varchar not null,
    audience    bigint not null,
    excluded    bigint not null,
    messages    bigint not null,
    accepted    bigint not null,
    refused     bigint not null,
    deferred    bigint not null,
    cancelled   bigint not null,
    unknown     bigint not null,
    waiting     bigint not null,
    computed_at timestamp with time zone not null
);
