/* ---
description: Where contacts are reached, coarse enough to name nobody; for deliverability.
grain: one contact
key: contact_id
group: deliverability
owner: team:analysts
materialized: view
chart: {name: contacts_by_calling_code, of: count(*), by: calling_code}
columns:
  contact_id: {type: varchar, description: The contact.}
  email_domain: {type: varchar, description: "The domain of the e-mail address; domains with fewer than 5 contacts of the organisation are together as (small domains). Null without an address."}
  calling_code: {type: varchar, description: "The country calling code of the phone number, such as +49 (ITU-T E.164); codes with fewer than 5 contacts together as (small domains). Null without a number."}
--- */
with places as (
    select contact_id, organisation_id, lower(split_part(email, '@', -1)) as email_domain,
           nullif(regexp_extract(phone, '^\+(1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|[0-9]{3})'), '')
               as calling_code
    from core.contacts
),
large_domains as (
    select organisation_id, email_domain from places where email_domain is not null
    group by all having count(*) >= 5
),
large_codes as (
    select organisation_id, calling_code from places where calling_code is not null
    group by all having count(*) >= 5
)
select p.contact_id,
       case when p.email_domain is not null then coalesce(d.email_domain, '(small domains)') end as email_domain,
       case when p.calling_code is not null then coalesce(c.calling_code, '(small domains)') end as calling_code
from places p
left join large_domains d on d.organisation_id = p.organisation_id and d.email_domain = p.email_domain
left join large_codes c on c.organisation_id = p.organisation_id and c.calling_code = p.calling_code
