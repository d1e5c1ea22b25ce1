-- What sending needs beyond claims: legal transitions, stops, shared rates, quotas, dead letters, wake-ups.

-- The state machines of sends and batches. '' is the state before the row exists. docs/dispatch.md shows this table.
create table transition (
    entity      text not null check (entity in ('send', 'batch')),
    from_status text not null,
    to_status   text not null,
    meaning     text not null,
    primary key (entity, from_status, to_status)
);
insert into transition (entity, from_status, to_status, meaning) values
    ('batch', '',        'planned',   'enqueued, or what is left of another batch'),
    ('batch', '',        'dead',      'every allowed attempt failed in passing; waits for people'),
    ('batch', 'planned', 'claimed',   'a worker holds it: fence and lease'),
    ('batch', 'planned', 'cancelled', 'its send was cancelled'),
    ('batch', 'claimed', 'planned',   'given back, or the lease ran out: no byte left'),
    ('batch', 'claimed', 'sending',   'marked, durably, before bytes leave'),
    ('batch', 'sending', 'settled',   'every message has its outcome'),
    ('batch', 'sending', 'unknown',   'nobody can know what the provider took'),
    ('batch', 'unknown', 'settled',   'the provider''s own record, or its events, told'),
    ('batch', 'dead',    'planned',   'people retry it'),
    ('batch', 'dead',    'cancelled', 'people gave it up'),
    ('send', '',          'scheduled', 'created'),
    ('send', 'scheduled', 'sending',   'enqueued and open for workers'),
    ('send', 'scheduled', 'paused',    'held back before it began'),
    ('send', 'scheduled', 'cancelled', 'given up before it began'),
    ('send', 'scheduled', 'failed',    'its plan cannot be made'),
    ('send', 'sending',   'paused',    'no more claims until it is resumed'),
    ('send', 'sending',   'sent',      'nothing waits and nothing is in doubt'),
    ('send', 'sending',   'failed',    'its plan cannot be topped up'),
    ('send', 'sending',   'cancelled', 'what waits is given up'),
    ('send', 'paused',    'scheduled', 'resumed before it began'),
    ('send', 'paused',    'sending',   'resumed'),
    ('send', 'paused',    'cancelled', 'what waits is given up'),
    ('send', 'failed',    'scheduled', 'run again'),
    ('send', 'failed',    'sending',   'run again'),
    ('send', 'failed',    'cancelled', 'given up'),
    ('send', 'sent',      'sending',   'its plan was topped up, or dead letters are retried');

create function require_transition() returns trigger language plpgsql as $$
declare
    old_status text := case when tg_op = 'INSERT' then '' else old.status end;
begin
    if not exists (select from transition
                   where entity = tg_argv[0] and from_status = old_status and to_status = new.status) then
        raise check_violation using
            message = format('a %s cannot go from ''%s'' to ''%s''', tg_argv[0], old_status, new.status);
    end if;
    return new;
end $$;

create trigger batch_begins before insert on batch
    for each row when (new.status <> 'planned') execute function require_transition('batch');
create trigger batch_moves before update of status on batch
    for each row when (old.status is distinct from new.status) execute function require_transition('batch');
create trigger send_begins before insert on send
    for each row when (new.status <> 'scheduled') execute function require_transition('send');
create trigger send_moves before update of status on send
    for each row when (old.status is distinct from new.status) execute function require_transition('send');

-- Workers asleep on `batch_due` wake up when there is something for them; the payload is the lane.
create function announce_batches() returns trigger language plpgsql as $$
begin
    perform pg_notify('batch_due', lane) from (select distinct lane from added where status = 'planned') lanes;
    return null;
end $$;
create trigger batch_due after insert on batch
    referencing new table as added for each statement execute function announce_batches();

-- Kill switches. A scope is `all`, `channel:NAME`, `lane:NAME` or `organisation:NAME`.
create table stop (
    scope      text primary key,
    reason     text not null,
    actor      text not null,
    stopped_at timestamptz not null default now()
);

-- Token buckets, one per lane, shared by every process. Rates come from the settings; this is their state.
create table rate_bucket (
    bucket        text primary key,
    tokens        double precision not null,
    updated_at    timestamptz not null default clock_timestamp(),
    -- What the provider told us: nothing before this time, and this share (0-1) of the allowed rate.
    blocked_until timestamptz,
    share         double precision not null default 1 check (share > 0 and share <= 1)
);

-- How many messages a scope may send per hour or day. Absent: as many as it likes.
create table quota (
    scope   text not null,  -- organisation:NAME or lane:NAME
    period  text not null check (period in ('hour', 'day')),
    allowed bigint not null check (allowed >= 0),
    primary key (scope, period)
);
create table quota_use (
    scope     text not null,
    period    text not null,
    starts_at timestamptz not null,
    used      bigint not null default 0,
    primary key (scope, period, starts_at)
);

-- Fair shares: a worker looks at the next batches of every organisation, not only at the oldest of all.
create index batch_fair on batch (lane, organisation_id, priority, due_at, batch_id) where status = 'planned';
create index batch_dead on batch (created_at) where status = 'dead';
drop index batch_claimable;

-- Why a send is where it is, when people or a fault put it there.
alter table send add column status_reason text;
