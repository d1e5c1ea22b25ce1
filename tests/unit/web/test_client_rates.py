"""How often one client may call one receiver."""

from comms_pipeline.domain.rate import Rate
from comms_pipeline.web.receivers import rates
from comms_pipeline.web.receivers.rates import ClientRates


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def limited(per_second: float, burst: float) -> tuple[ClientRates, Clock]:
    clock = Clock()
    return ClientRates(Rate(per_second=per_second, burst=burst), clock), clock


def test_a_burst_passes_and_the_next_one_waits_for_its_place():
    clients, clock = limited(per_second=2, burst=3)
    assert [clients.wait("resend", "192.0.2.1") for _ in range(5)] == [0, 0, 0, 0.5, 0.5]
    clock.now += 0.5
    assert [clients.wait("resend", "192.0.2.1") for _ in range(2)] == [0, 0.5]
    clock.now += 3600
    assert [clients.wait("resend", "192.0.2.1") for _ in range(4)] == [0, 0, 0, 0.5]


def test_clients_and_providers_do_not_wait_for_each_other():
    clients, _ = limited(per_second=1, burst=1)
    asked = [("resend", "192.0.2.1"), ("resend", "192.0.2.2"), ("mailgun", "192.0.2.1"), ("resend", "")]
    assert [clients.wait(*each) for each in asked] == [0, 0, 0, 0]
    assert [clients.wait(*each) for each in asked] == [1, 1, 1, 1]


def test_whoever_has_one_ipv6_address_has_the_whole_network():
    clients, _ = limited(per_second=1, burst=1)
    assert clients.wait("resend", "2001:db8::1") == 0
    assert clients.wait("resend", "2001:db8::ffff:1%eth0") == 1
    assert clients.wait("resend", "2001:db8:0:1::1") == 0
    assert clients.wait("resend", "not:an:address") == 0


def test_of_too_many_clients_the_one_not_heard_of_for_longest_is_forgotten(monkeypatch):
    monkeypatch.setattr(rates, "MOST_CLIENTS", 2)
    clients, _ = limited(per_second=1, burst=1)
    assert [clients.wait("resend", client) for client in ("a", "b", "a", "c")] == [0, 0, 1, 0]
    assert clients.wait("resend", "a") == 1
    assert clients.wait("resend", "b") == 0
