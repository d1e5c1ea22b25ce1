"""The identity of messages."""

from hypothesis import given
from hypothesis import strategies as st

from comms_pipeline.domain.message import PRIORITY, Channel, MessageClass, message_ids


def test_ids_are_the_same_in_every_process_and_release() -> None:
    assert message_ids("spring-1", ["ann", "bob"], Channel.EMAIL) == [
        "83a5171f04656547dad49ba580acd744",
        "d8460be0b060e981eda7616ab09ebf7b",
    ]


def test_send_channel_step_and_contact_each_make_another_id() -> None:
    ids = [
        *message_ids("spring-1", ["ann", "bob"], Channel.EMAIL),
        *message_ids("spring-1", ["ann", "bob"], Channel.SMS),
        *message_ids("spring-2", ["ann", "bob"], Channel.EMAIL),
        *message_ids("spring-1", ["ann", "bob"], Channel.EMAIL, step=1),
    ]
    assert len(set(ids)) == 8
    assert all(len(message_id) == 32 for message_id in ids)


@given(st.lists(st.text(), unique=True))
def test_a_contacts_id_does_not_depend_on_its_company(contacts: list[str]) -> None:
    together = message_ids("spring-1", contacts, Channel.EMAIL)
    alone = [message_ids("spring-1", [contact], Channel.EMAIL)[0] for contact in contacts]
    assert together == alone
    assert len(set(together)) == len(contacts)


def test_emergencies_go_before_transactions_before_marketing() -> None:
    assert sorted(MessageClass, key=PRIORITY.__getitem__) == [
        MessageClass.EMERGENCY,
        MessageClass.TRANSACTIONAL,
        MessageClass.MARKETING,
    ]
