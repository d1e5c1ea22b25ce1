-- What people have chosen and agreed to, what law and organisations limit, and what was done about it.
-- A `subject` is 16 bytes that stand for somebody: a contact id, or the keyed hash of an address (as in
-- `suppression`), whichever the page or the import knew. Whoever asks, asks for both.

-- An opt-out of marketing leaves an invoice alone; STOP, a bounce or a complaint does not.
alter table suppression add column scope text not null default 'all' check (scope in ('all', 'marketing'));
alter table suppression alter column scope drop default;

-- Types of messages people may choose between, limits, and what else organisation.yaml says.
alter table organisation add column spec jsonb not null default '{}';

-- Whether somebody wants one type of message on one channel. Topic '*' is every type that has no row of its own.
create table preference (
    organisation_id text not null,
    subject         bytea not null check (length(subject) = 16),
    channel         text not null check (channel in ('email', 'sms', 'whatsapp')),
    topic           text not null,
    is_wanted       boolean not null,
    source          text not null,
    changed_at      timestamptz not null default now(),
    primary key (organisation_id, subject, channel, topic)
);

-- What somebody has asked of us beyond yes and no. Minutes of the day by their own clock; null: no wish.
create table personal_limit (
    organisation_id text not null,
    subject         bytea not null check (length(subject) = 16),
    quiet_from      smallint check (quiet_from between 0 and 1439),
    quiet_until     smallint check (quiet_until between 0 and 1439),
    paused_until    timestamptz,
    weekly_cap      smallint check (weekly_cap > 0),
    source          text not null,
    changed_at      timestamptz not null default now(),
    primary key (organisation_id, subject),
    check ((quiet_from is null) = (quiet_until is null))
);

-- Append-only record of consent (GDPR Art 7(1)): the newest row of a subject, channel and purpose holds.
create table consent (
    consent_id      bigint generated always as identity primary key,
    organisation_id text not null,
    subject         bytea not null check (length(subject) = 16),
    channel         text not null check (channel in ('email', 'sms', 'whatsapp')),
    purpose         text not null default '*',  -- a topic, or '*' for every one
    kind            text not null,              -- express, written, implied-purchase, implied-inquiry, soft-opt-in, …
    state           text not null check (state in ('given', 'pending', 'withdrawn')),
    at              timestamptz not null,       -- when the person said so
    text_version    text,                       -- which wording they agreed to
    source          text not null,              -- where: a form, an import, a page
    ip_address      inet,
    recorded_at     timestamptz not null default now()
);
create index consent_latest on consent (organisation_id, channel, subject, purpose, consent_id desc);

-- The wording behind a text version, exactly as shown.
create table consent_text (
    organisation_id text not null,
    text_version    text not null,
    wording         text not null,
    created_at      timestamptz not null default now(),
    primary key (organisation_id, text_version)
);

-- National do-not-call registries, as imported. One row per list and number.
create table do_not_call_list (
    list_id     text primary key,
    numbers     bigint not null,
    imported_at timestamptz not null default now()
);
create table do_not_call (
    list_id     text not null references do_not_call_list on delete cascade,
    address_key bytea not null,
    primary key (address_key, list_id)
);

-- How many messages a contact may get from an organisation, over a rolling window and across campaigns.
create table frequency_cap (
    organisation_id text not null,
    channel         text not null check (channel in ('email', 'sms', 'whatsapp')),
    topic           text not null default '*',
    messages        integer not null check (messages > 0),
    hours           integer not null check (hours between 1 and 744),
    primary key (organisation_id, channel, topic, hours)
);

-- What went to whom lately, where a cap makes that matter; written with the mark that a batch is being sent.
create table recent_message (
    organisation_id text not null,
    channel         text not null,
    address_key     bytea not null,
    message_id      bytea not null check (length(message_id) = 16),
    topic           text not null,
    sent_at         timestamptz not null default now(),
    primary key (organisation_id, channel, address_key, message_id)
);
create index recent_message_age on recent_message (sent_at);

-- What the last check before bytes leave needs to know of a batch.
alter table batch add column message_class text not null default 'marketing'
    check (message_class in ('marketing', 'transactional', 'emergency'));
alter table batch add column topic text not null default 'general';
-- When its recipients may be reached (`domain.hours.Hours` as text); null: at any time.
alter table batch add column hours text;

-- Erasures that providers have yet to carry out on their side.
create table provider_erasure (
    erasure_id   bigint generated always as identity primary key,
    provider     text not null,
    reference    text not null,   -- what the provider knows the person by; dropped once done
    requested_at timestamptz not null default now(),
    attempts     smallint not null default 0,
    due_at       timestamptz not null default now(),
    done_at      timestamptz,
    last_error   text
);

create index audit_subject on audit (subject, audit_id);
