-- The sandbox's durable record (SQLite): every message it accepted, which is the truth that tests compare with.

-- name: schema
-- What requests have in common (a SendGrid mail without its personalizations), kept once by digest.
create table if not exists content (
    digest blob primary key,
    body   blob not null
) without rowid;

-- One API request that was accepted. Times are epoch seconds.
create table if not exists request (
    request_id    integer primary key,
    provider      text not null,
    provider_id   text not null unique,   -- X-Message-Id, the message's SID, Resend's e-mail id, Mailgun's Message-Id
    accepted_at   real not null,
    last_start_at real not null,          -- the latest of its messages' starts_at
    categories    text not null,          -- JSON array
    digest        blob
);
create index if not exists request_accepted on request (accepted_at);
create index if not exists request_start on request (last_start_at);

-- One recipient of a request. message_key = request_id * 1024 + position.
create table if not exists message (
    message_key  integer primary key,
    recipient    integer not null,        -- 0 for the first address of a personalization; further ones are copies
    message_id   text not null,           -- our own id, '' when the request carried none
    organisation text not null,
    send         text not null,
    address      text not null collate nocase,
    starts_at    real not null,           -- acceptance, or the time asked for with send_at
    payload      blob not null,           -- JSON: the personalization, Twilio's form fields, Resend's e-mail, Mailgun's variables
    -- CRC-32 of message_id and of the lower-case address: indexes over them stay a quarter of the size,
    -- which is what random inserts cost. Queries compare the text as well.
    id_crc       integer not null,
    address_crc  integer not null
);
create index if not exists message_id on message (id_crc) where message_id <> '';
create index if not exists message_address on message (address_crc);

-- Numbers whose owners replied STOP.
create table if not exists stopped (
    address    text primary key,
    stopped_at real not null
) without rowid;

-- How far webhooks have been posted: everything due before posted_until has been answered with 2xx.
create table if not exists progress (
    only         integer primary key check (only = 0),
    posted_until real not null,
    posted       integer not null
);

-- name: add_content
insert or ignore into content (digest, body) values (?, ?);

-- name: add_request
insert into request (request_id, provider, provider_id, accepted_at, last_start_at, categories, digest)
values (?, ?, ?, ?, ?, ?, ?);

-- name: add_message
insert into message
    (message_key, recipient, message_id, organisation, send, address, starts_at, payload, id_crc, address_crc)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: add_stopped
insert or ignore into stopped (address, stopped_at) values (?, ?);

-- name: erase_message
delete from message where message_key = ?;

-- name: save_progress
insert into progress (only, posted_until, posted) values (0, ?, ?)
on conflict (only) do update set posted_until = excluded.posted_until, posted = excluded.posted;

-- name: last_request
select coalesce(max(request_id), 0) from request;

-- name: progress
select posted_until, posted from progress;

-- name: stopped
select address from stopped;

-- name: content
select body from content where digest = ?;

-- name: request
select request_id, provider, provider_id, accepted_at, categories, digest from request where request_id = ?;

-- name: request_by_provider_id
select request_id, provider, provider_id, accepted_at, categories, digest from request where provider_id = ?;

-- name: requests_since
select request_id from request where last_start_at >= ? order by request_id;

-- name: messages_of_request
select message_key, recipient, message_id, organisation, send, address, starts_at, payload
from message where message_key between ? and ? order by message_key;

-- name: messages_of_id
select message_key, recipient, message_id, organisation, send, address, starts_at, payload
from message where id_crc = ? and message_id = ? and message_id <> '' order by message_key desc;

-- name: latest_messages
select message_key, recipient, message_id, organisation, send, address, starts_at, payload
from message order by message_key desc limit ?;

-- name: search_address
-- One address's messages, newest first; categories is a JSON array or null.
select m.message_key, m.recipient, m.message_id, m.organisation, m.send, m.address, m.starts_at, m.payload
from message m join request r on r.request_id = m.message_key >> 10
where r.provider = :provider
  and m.message_key < :before
  and m.address_crc = :address_crc and m.address = :address
  and r.accepted_at >= :since and r.accepted_at < :until
  and (:categories is null or exists (
        select 1 from json_each(r.categories) mine join json_each(:categories) wanted on mine.value = wanted.value))
order by m.message_key desc
limit :limit;

-- name: search_window
-- The same for a time window without an address.
select m.message_key, m.recipient, m.message_id, m.organisation, m.send, m.address, m.starts_at, m.payload
from request r cross join message m
    on m.message_key >= r.request_id * 1024 and m.message_key < (r.request_id + 1) * 1024
where r.provider = :provider
  and r.request_id <= :before / 1024
  and m.message_key < :before
  and r.accepted_at >= :since and r.accepted_at < :until
  and (:categories is null or exists (
        select 1 from json_each(r.categories) mine join json_each(:categories) wanted on mine.value = wanted.value))
order by r.request_id desc, m.message_key desc
limit :limit;

-- name: listing
-- Oldest first, for comparisons: every accepted message and how often its id was accepted in all.
select m.message_key, r.provider, r.provider_id, m.message_id, m.organisation, m.send, r.accepted_at,
       case when m.message_id = '' then 1 else
           (select count(*) from message t
            where t.id_crc = m.id_crc and t.message_id = m.message_id and t.message_id <> '' and t.recipient = 0)
       end as accepted
from message m join request r on r.request_id = m.message_key >> 10
where m.message_key > :after
  and m.recipient = 0
  and (:provider is null or r.provider = :provider)
  and (:send is null or m.send = :send
       or exists (select 1 from json_each(r.categories) where value = :send))
order by m.message_key
limit :limit;

-- name: totals
select r.provider, count(*), count(distinct nullif(m.message_id, '')), sum(m.message_id = '')
from message m join request r on r.request_id = m.message_key >> 10
where m.recipient = 0
group by r.provider;
