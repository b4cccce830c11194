"""What a fake image promises. No cluster needed."""

import pytest

from retrain_operator.embedded.pods import UnknownImage
from tests.cluster.fake_pods import FakePlan, plan


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        pytest.param("fake/succeed:5s", FakePlan(5.0, 0, "Completed", ""), id="succeeds"),
        pytest.param("fake/fail:500ms", FakePlan(0.5, 1, "Error", ""), id="fails"),
        pytest.param("fake/exit-3:2m", FakePlan(120.0, 3, "Error", ""), id="exit code"),
        pytest.param("fake/exit-0:1s", FakePlan(1.0, 0, "Completed", ""), id="exit code 0 is success"),
        pytest.param("fake/oom:1.5s", FakePlan(1.5, 137, "OOMKilled", ""), id="out of memory"),
        pytest.param("fake/run:forever", FakePlan(None, 0, "Completed", ""), id="never ends"),
    ],
)
def test_the_image_says_what_happens(image: str, expected: FakePlan) -> None:
    assert plan({"metadata": {"name": "p"}, "spec": {"containers": [{"image": image}]}}) == expected


@pytest.mark.parametrize("image", ["fake/succeed", "fake/succeed:5", "fake/explode:5s", "fake/exit-x:5s"])
def test_anything_else_is_an_unknown_image(image: str) -> None:
    with pytest.raises(UnknownImage, match=image):
        plan({"metadata": {"name": "p"}, "spec": {"containers": [{"image": image}]}})


def test_the_message_may_use_the_variables_before_it() -> None:
    environment = [{"name": "RUN", "value": "r-1"}, {"name": "FAKE_MESSAGE", "value": '{"runId": "$(RUN)"}'}]
    container = {"image": "fake/succeed:0s", "env": environment}
    assert plan({"metadata": {"name": "p"}, "spec": {"containers": [container]}}).message == '{"runId": "r-1"}'
