"""A delivery survives its way into the pool."""

import pickle

from archiver.worker.delivery import Delivery


def test_from_header_is_the_inverse_of_as_header() -> None:
    attributes = {"A": {"DataType": "Binary", "BinaryValue": b"\x00"}}
    delivery = Delivery("m", "https://sqs/q", "h", 2, 1.5, None, "body", group_id="g", attributes=attributes)
    assert Delivery.from_header(pickle.loads(pickle.dumps(delivery.as_header()))) == delivery
