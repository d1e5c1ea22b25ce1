-- When somebody last wrote to us, on channels where free text may only answer. The address is a keyed HMAC, as in
-- `suppression`. Our sender on such a channel serves every organisation, and so do the people's answers.
create table last_inbound (
    channel     text not null check (channel in ('whatsapp')),
    address_key bytea not null,
    at          timestamptz not null default now(),
    primary key (channel, address_key)
);
