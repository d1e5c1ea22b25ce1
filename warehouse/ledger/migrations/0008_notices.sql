-- Alerts that people hear of. One open row per key: told once, again after its severity's time, and when it is over.
create table notice (
    notice_id         bigint generated always as identity primary key,
    key               text not null,
    severity          text not null check (severity in ('P0', 'P1', 'P2', 'P3')),
    subject           text not null,
    what              text not null,  -- no personal data
    fix               text not null,
    since             timestamptz not null,
    gone_since        timestamptz,    -- not found any more; over only when it stays away
    resolved_at       timestamptz,
    told_at           timestamptz,    -- the last time somebody was told that it is there
    told_resolved_at  timestamptz
);
create unique index notice_open on notice (key) where resolved_at is null;
create index notice_resolved on notice (resolved_at) where resolved_at is not null;
