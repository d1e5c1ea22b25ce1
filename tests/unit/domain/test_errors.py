"""Errors reach people whole, also from another process."""

import pickle

from comms_pipeline.campaign_files import InvalidCampaignFiles
from comms_pipeline.domain.errors import InvalidCampaign, NotFound


def test_an_error_survives_the_way_between_processes():
    error = pickle.loads(pickle.dumps(NotFound("send x", "it does not exist", "See `comms status`")))

    assert type(error) is NotFound
    assert str(error) == "send x: it does not exist. See `comms status`"
    assert (error.culprit, error.problem, error.fix) == ("send x", "it does not exist", "See `comms status`")


def test_an_error_made_of_several_survives_too():
    problems = [
        InvalidCampaign("a.yaml:1", "wrong", "Mend it"),
        InvalidCampaign("b.yaml:2", "bad", "Cure it"),
    ]

    error = pickle.loads(pickle.dumps(InvalidCampaignFiles(problems)))

    assert str(error) == "a.yaml:1: wrong. Mend it"
    assert [str(problem) for problem in error.problems] == [
        "a.yaml:1: wrong. Mend it",
        "b.yaml:2: bad. Cure it",
    ]
