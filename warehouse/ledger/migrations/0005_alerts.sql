-- What people who look after sending want to know of a lane, as the senders noticed it. A batch that goes well
-- deletes the row.
create table lane_trouble (
    lane    text primary key,
    kind    text not null check (kind in ('down', 'misconfigured')),
    problem text not null,  -- the provider's fault in a few words; no personal data
    since   timestamptz not null default now(),
    seen_at timestamptz not null default now()
);
create index batch_unknown on batch (sending_at) where status = 'unknown';

-- A send that people ordered for some of those of an earlier one. They are chosen once, when it is ordered.
create table resend (
    send_id     text primary key references send,
    of_send     text not null references send,
    contact_ids text[] not null check (cardinality(contact_ids) > 0)
);
