/* ---
description: What waits in the queue, is in flight, in doubt or dead, by lane.
grain: one lane and status of batches that are not done
key: [lane, status]
group: deliverability
owner: team:operations
computed: python
freshness_hours: 26
chart: {name: messages_by_status, of: sum(messages), by: status}
figures:
  messages: coalesce(sum(messages), 0)
columns:
  lane: {type: varchar, description: "Channel and provider, such as sms:twilio.", tests: [not_null]}
  status: {type: varchar, description: "planned: waits; claimed and sending: in flight; unknown: in doubt, being asked for; dead: waits for people.", tests: [not_null, {accepted: [planned, claimed, sending, unknown, dead]}]}
  messages: {type: bigint, unit: messages, description: Messages of these batches., tests: [not_null]}
  oldest_due_at: {type: timestamp with time zone, description: When the oldest of them was due; later than now where none is due., tests: [not_null]}
  computed_at: {type: timestamp with time zone, description: When the queue was looked at., tests: [not_null]}
--- */
