"""What falls due when, and how far everything was taken."""

from comms_pipeline.sandbox.agenda import Agenda


def test_steps_are_taken_once_their_tick_is_over_in_order_of_time() -> None:
    agenda = Agenda(start=1000.0)
    agenda.add(7, 2, 1005.1)
    agenda.add(8, 0, 1001.0)
    assert agenda.waiting == 2
    assert agenda.take(1000.9) is None
    assert agenda.take(1010.0) == (1001.0, [(8, 0)])
    taken = agenda.take(1010.0)
    assert taken is not None
    assert taken[1] == [(7, 2)]
    assert agenda.take(1010.0) is None
    assert agenda.waiting == 0


def test_the_mark_never_passes_a_step_that_waits() -> None:
    agenda = Agenda(start=1000.0)
    agenda.add(7, 0, 1001.0)
    assert agenda.mark == 1000.0
    agenda.take(1010.0)
    agenda.take(1010.0)
    assert agenda.mark == 1010.0


def test_a_late_step_is_taken_with_the_next_tick_and_holds_the_mark() -> None:
    agenda = Agenda(start=1000.0)
    agenda.take(1010.0)
    agenda.add(7, 0, 1003.5)
    assert agenda.mark == 1003.5
    assert agenda.take(1020.0) == (1003.5, [(7, 0)])
