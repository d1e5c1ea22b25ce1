-- The lake's tables. DuckLake knows no constraints: keys are stated here and tested by asset checks.
-- Every statement can run again. Times are UTC. Ids are never personal data.

create schema if not exists raw;
create schema if not exists core;
create schema if not exists campaign;
create schema if not exists mart;

-- Grain: one feed. How far each ledger feed has been loaded; written in the transaction that loads it.
create table if not exists raw.watermarks (
    feed      varchar not null,                  -- a feed of the ledger, or a step of the loader
    xact      ubigint not null,                  -- transaction id of the last row
    last_id   bigint not null,                   -- id of the last row, or the last load id
    loaded_at timestamp with time zone not null  -- when
);

-- Grain: one import of one file.
create table if not exists raw.contact_imports (
    import_id       varchar not null,                  -- the import
    organisation_id varchar not null,                  -- whose it is
    source_name     varchar not null,                  -- name of the file
    row_count       bigint not null,                   -- rows of the file = contacts + rejected rows
    contact_count   bigint not null,                   -- rows that made a contact
    rejected_rows   bigint not null,                   -- rows that made none
    imported_at     timestamp with time zone not null  -- when
);

-- Grain: one fault of one row of one imported file. Severity 'row': no contact came of it.
create table if not exists raw.contact_rejects (
    import_id   varchar not null,  -- the import
    source_row  bigint not null,   -- row of the file, from 1
    column_name varchar,           -- null: the row could not be split into columns
    reason      varchar not null,  -- what was wrong; never the value
    severity    varchar not null   -- row or column: the contact lacks this value
);

-- Grain: one contact (contact_id). The only table with addresses and names.
create table if not exists core.contacts (
    contact_id      varchar not null,                   -- keyed hash of its address or external id
    organisation_id varchar not null,                   -- whose it is
    external_id     varchar,                            -- the organisation's own id
    email           varchar,                            -- in normal form
    phone           varchar,                            -- in E.164
    name            varchar,                            -- as imported
    language        varchar,                            -- BCP 47
    time_zone       varchar,                            -- IANA name
    country         varchar,                            -- ISO 3166 code
    region          varchar,                            -- state or province
    postcode        varchar,                            -- as imported
    attributes      varchar not null,                   -- JSON: whatever else was imported
    consent_source  varchar,                            -- where the consent was given, as the import said
    consent_kind    varchar,                            -- express, implied, … as the import said
    consent_at      timestamp with time zone,           -- when it was given
    is_erased       boolean not null,                   -- nothing but the id is left
    created_at      timestamp with time zone not null,  -- first imported
    updated_at      timestamp with time zone not null   -- last changed
);

-- Grain: one send. What the ledger knows of it, for those who only read the lake.
create table if not exists campaign.sends (
    send_id         varchar not null,                        -- the send
    campaign_id     varchar not null,                        -- its campaign
    version         integer not null,                        -- of the campaign's file
    organisation_id varchar not null,                        -- whose it is
    message_class   varchar not null,                        -- marketing, transactional …
    due_at          timestamp with time zone not null,       -- when it was to go
    segments        struct(name varchar, version integer)[]  -- saved segments its audience was selected by last
);
alter table campaign.sends add column if not exists segments struct(name varchar, version integer)[];

-- Grain: one contact of one send's audience.
create table if not exists campaign.audiences (
    send_id     varchar not null,                  -- the send
    contact_id  varchar not null,                  -- the contact
    selected_at timestamp with time zone not null  -- when
);

-- Grain: one contact and channel of one send. Every rule that applied, not only the first.
create table if not exists campaign.decisions (
    send_id      varchar not null,                   -- the send
    contact_id   varchar not null,                   -- the contact
    channel      varchar not null,                   -- email, sms or whatsapp
    decision     varchar not null,                   -- allowed, deferred, excluded
    rules        struct(rule_id varchar, version integer, evidence varchar)[] not null,  -- every rule that spoke against it
    decided_at   timestamp with time zone not null,  -- when
    not_before   timestamp with time zone,           -- of what is deferred: the first minute at which it may go
    hours        varchar                             -- when the contact may be reached; null: at any time
);
alter table campaign.decisions add column if not exists not_before timestamp with time zone;
alter table campaign.decisions add column if not exists hours varchar;

-- Grain: one message (message_id). The plan: who gets what, when, through what. Append-only.
create table if not exists campaign.messages (
    send_id      varchar not null,                   -- the send
    generation   integer not null,                   -- the run that planned it, from 1
    message_id   varchar not null,                   -- the message
    contact_id   varchar not null,                   -- the contact
    channel      varchar not null,                   -- email, sms or whatsapp
    lane         varchar not null,                   -- channel and provider account it is planned for
    variant      varchar not null,                   -- the variant; empty without variants
    language     varchar,                            -- of the content
    score        double not null,                    -- personalization score, 0-1
    segments     integer,                            -- SMS segments; null for e-mail
    due_at       timestamp with time zone not null,  -- when it may go first
    planned_at   timestamp with time zone not null,  -- when
    topic        varchar,                            -- the type of message people choose by
    hours        varchar,                            -- when the contact may be reached; null: at any time
    cost_micros  bigint,                             -- by the price set at planning, for its segments; null: there was none
    currency     varchar,                            -- of the cost
    domain       varchar,                            -- where it goes, coarse: e-mail domain or calling code; small ones together
    time_zone    varchar                             -- the contact's, when it was planned
);
alter table campaign.messages add column if not exists topic varchar;
alter table campaign.messages add column if not exists hours varchar;
alter table campaign.messages add column if not exists cost_micros bigint;
alter table campaign.messages add column if not exists currency varchar;
alter table campaign.messages add column if not exists domain varchar;
alter table campaign.messages add column if not exists time_zone varchar;

-- Grain: one send. Its books as they were balanced last: lake, ledger and the providers' events.
create table if not exists campaign.reconciliations (
    send_id       varchar not null,                  -- the send
    planned       bigint not null,                   -- messages in the plan
    accepted      bigint not null,                   -- a provider took them
    refused       bigint not null,                   -- refused
    deferred      bigint not null,                   -- put off
    cancelled     bigint not null,                   -- given up by people
    unknown       bigint not null,                   -- nobody knows yet
    waiting       bigint not null,                   -- nothing is recorded yet
    confirmed     bigint not null,                   -- accepted messages of which the provider told any event
    contradicted  bigint not null,                   -- refused or cancelled ones that were delivered all the same
    enqueued      bigint not null,                   -- as the ledger counts
    held          bigint not null,                   -- waiting, in flight or in doubt in the ledger
    is_balanced   boolean not null,                  -- all agree
    reconciled_at timestamp with time zone not null  -- when
);

-- Grain: one recorded outcome of one message; the highest outcome_id of a message is its state.
create table if not exists core.outcomes (
    outcome_id          bigint not null,                    -- grows
    batch_id            bigint not null,                    -- the batch it was sent in
    send_id             varchar not null,                   -- the send
    message_id          varchar not null,                   -- the message
    status              varchar not null,                   -- accepted, refused, unknown, deferred, cancelled
    reason              varchar,                            -- why, in our word
    code                varchar,                            -- the provider's code
    provider            varchar not null,                   -- through whom
    provider_message_id varchar,                            -- the provider's id of the message
    recorded_at         timestamp with time zone not null,  -- when
    load_id             bigint                              -- of the run that loaded it, growing; outcome ids may come out of order
);
alter table core.outcomes add column if not exists load_id bigint;

-- Grain: one event as a provider told it, personal fields removed; told again, it is another row. Kept also when
-- nothing matches it.
create table if not exists raw.provider_events (
    landing_id          bigint not null,                    -- which webhook
    position            integer not null,                   -- in its webhook, from 0
    provider            varchar not null,                   -- who told it
    received_at         timestamp with time zone not null,  -- when it arrived
    kind                varchar not null,                   -- what happened, in our word
    raw_kind            varchar not null,                   -- what happened, in the provider's word
    occurred_at         timestamp with time zone not null,  -- when it happened
    organisation_id     varchar,                            -- whose it is
    message_id          varchar,                            -- the message
    provider_message_id varchar,                            -- the provider's id of the message
    provider_event_id   varchar,                            -- the provider's id of the event
    reason              varchar,                            -- why, in our word
    code                varchar,                            -- the provider's code
    url                 varchar,                            -- what was clicked
    user_agent          varchar,                            -- the client's, as it said
    is_machine          boolean not null,                   -- the provider said that no person did it
    payload             varchar not null,                   -- the rest, JSON
    load_id             bigint,                             -- one number per commit of the loader, growing; null: loaded before it was kept
    ip_key              varchar,                            -- keyed hash of the client's address, hex
    is_head             boolean,                            -- only the headers were asked for
    is_prefetch         boolean                             -- fetched ahead by a program
);
alter table raw.provider_events add column if not exists load_id bigint;
alter table raw.provider_events add column if not exists ip_key varchar;
alter table raw.provider_events add column if not exists is_head boolean;
alter table raw.provider_events add column if not exists is_prefetch boolean;

-- Grain: one webhook body (or part of one) that no parser understood, with the reason. The body stays in the ledger's landing.
create table if not exists raw.event_rejects (
    landing_id  bigint not null,                    -- which webhook
    provider    varchar not null,                   -- who told it
    received_at timestamp with time zone not null,  -- when it arrived
    reason      varchar not null                    -- why not
);

-- Grain: one event that happened once (event_id), however often it was told.
create table if not exists core.events (
    event_id            varchar not null,                   -- hash of what happened
    message_id          varchar,                            -- null: no message of ours was found
    send_id             varchar,                            -- the send
    contact_id          varchar,                            -- the contact
    channel             varchar,                            -- email, sms or whatsapp
    organisation_id     varchar,                            -- whose it is
    provider            varchar not null,                   -- who told it
    kind                varchar not null,                   -- queued, sent, delivered, opened, clicked …
    occurred_at         timestamp with time zone not null,  -- when it happened
    received_at         timestamp with time zone not null,  -- when it arrived
    reason              varchar,                            -- why, in our word
    code                varchar,                            -- the provider's code
    url                 varchar,                            -- what was clicked
    verdict             varchar not null,                   -- human, machine, proxy, unknown
    verdict_score       double,                             -- 0 surely human … 1 surely machine; null: not scored
    verdict_reasons     varchar[],                          -- what spoke for it
    verdict_version     integer,                            -- of the rules that scored it
    user_agent          varchar,                            -- the client's, as it said
    ip_key              varchar,                            -- keyed hash of the client's address, hex
    is_head             boolean,                            -- only the headers were asked for
    is_prefetch         boolean,                            -- fetched ahead by a program
    is_told_machine     boolean,                            -- the provider said that no person did it
    match               varchar,                            -- how its message was found: message_id, provider_id, unmatched
    load_id             bigint,                             -- of the run that wrote the row, growing; whoever changes a row gives it a new one
    provider_message_id varchar                             -- the provider's id of the message
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

-- Grain: one message that is planned, or of which an outcome or an event is known. Its furthest step, and when it made each.
create table if not exists core.message_status (
    message_id             varchar not null,                   -- the message
    send_id                varchar,                            -- the send
    contact_id             varchar,                            -- the contact
    channel                varchar,                            -- email, sms or whatsapp
    organisation_id        varchar,                            -- whose it is
    status                 varchar not null,                   -- the furthest step
    status_rank            tinyint not null,                   -- its place among the steps
    accepted_at            timestamp with time zone,           -- when the provider took it
    sent_at                timestamp with time zone,           -- first told
    deferred_at            timestamp with time zone,           -- first told
    delivered_at           timestamp with time zone,           -- first told
    bounced_at             timestamp with time zone,           -- first told
    failed_at              timestamp with time zone,           -- first told
    first_opened_at        timestamp with time zone,           -- by whomever or whatever
    first_human_opened_at  timestamp with time zone,           -- by a person
    first_clicked_at       timestamp with time zone,           -- by whomever or whatever
    first_human_clicked_at timestamp with time zone,           -- by a person
    complained_at          timestamp with time zone,           -- first told
    unsubscribed_at        timestamp with time zone,           -- first told
    opens                  bigint not null,                    -- how often
    human_opens            bigint not null,                    -- how often by a person
    clicks                 bigint not null,                    -- how often
    human_clicks           bigint not null,                    -- how often by a person
    last_event_at          timestamp with time zone,           -- latest of anything told
    updated_at             timestamp with time zone not null,  -- when the row was computed
    load_id                bigint,                             -- of the run that computed the row, growing; null: only planned
    campaign_id            varchar,                            -- the campaign of the send
    variant                varchar,                            -- the variant; empty without variants, null without a plan
    lane                   varchar,                            -- channel and provider it went through, else is planned for
    score_band             varchar,                            -- the fifth its personalization score lies in
    segments               integer,                            -- of a text message
    cost_micros            bigint,                             -- what it costs once accepted; null without a price
    cost_currency          varchar,                            -- of the cost
    day                    date,                               -- UTC date of acceptance, else of the time it is due
    state                  varchar,                            -- where it is accounted for
    refusal_reason         varchar,                            -- why it was refused
    failure_kind           varchar,                            -- of the last loss told: bounced, blocked, rejected or failed
    failure_code           varchar,                            -- the provider's code of it
    failure_reason         varchar,                            -- why, in the provider's words
    domain                 varchar,                            -- where it goes, as planned
    time_zone              varchar                             -- the contact's, when it was planned
);
alter table core.message_status add column if not exists load_id bigint;
alter table core.message_status add column if not exists campaign_id varchar;
alter table core.message_status add column if not exists variant varchar;
alter table core.message_status add column if not exists lane varchar;
alter table core.message_status add column if not exists score_band varchar;
alter table core.message_status add column if not exists segments integer;
alter table core.message_status add column if not exists cost_micros bigint;
alter table core.message_status add column if not exists cost_currency varchar;
alter table core.message_status add column if not exists day date;
alter table core.message_status add column if not exists state varchar;
alter table core.message_status add column if not exists refusal_reason varchar;
alter table core.message_status add column if not exists failure_kind varchar;
alter table core.message_status add column if not exists failure_code varchar;
alter table core.message_status add column if not exists failure_reason varchar;
alter table core.message_status add column if not exists domain varchar;
alter table core.message_status add column if not exists time_zone varchar;

-- Grain: one business event (a purchase, a booking …) that was told, once per idempotency key.
create table if not exists core.business_events (
    event_id        varchar not null,                   -- the event
    organisation_id varchar not null,                   -- whose it is
    type            varchar not null,                   -- purchase, booking, custom …
    contact_id      varchar,                            -- the contact
    occurred_at     timestamp with time zone not null,  -- when it happened
    received_at     timestamp with time zone not null,  -- when it arrived
    value_micros    bigint,                             -- what it was worth, in millionths
    currency        varchar,                            -- of the value
    properties      varchar not null,                   -- JSON
    idempotency_key varchar not null,                   -- what makes it one event
    source          varchar not null                    -- who told it
);

-- Grain: one business event credited to one message.
create table if not exists core.conversions (
    event_id            varchar not null,                   -- the business event
    message_id          varchar not null,                   -- the message
    send_id             varchar not null,                   -- the send
    contact_id          varchar not null,                   -- the contact
    organisation_id     varchar not null,                   -- whose it is
    channel             varchar not null,                   -- email, sms or whatsapp
    variant             varchar,                            -- the variant; empty without variants
    type                varchar not null,                   -- of the business event
    occurred_at         timestamp with time zone not null,  -- when it happened
    touch_kind          varchar not null,                   -- delivered, opened or clicked
    touched_at          timestamp with time zone not null,  -- when the touch was
    seconds_since_touch bigint not null,                    -- from the touch to the event
    value_micros        bigint,                             -- what it was worth, in millionths
    currency            varchar,                            -- of the value
    model               varchar not null,                   -- last_touch
    window_hours        integer not null                    -- how long such a touch counts
);

-- Grain: one model (see lake/models). How far its rows go; written in the transaction that computes them.
create table if not exists raw.model_marks (
    model        varchar not null,                   -- schema.name
    after        bigint not null,                    -- load id up to which it is worked in
    refreshed_at timestamp with time zone not null,  -- when
    digest       varchar not null                    -- of the definition that the rows were computed by
);
