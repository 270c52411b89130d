"""The ledger finds what is wrong: an account that is always right would prove nothing."""

import pytest

from bench.parts.ledger import Account, judge


@pytest.mark.parametrize(
    ("stored", "others", "missing", "duplicates"),
    [
        ([1, 2, 3, 4], {}, 0, 0),
        ([4, 3, 2, 1], {}, 0, 0),
        ([1, 2, 4], {}, 1, 0),
        ([1, 2, 2, 3, 4], {}, 0, 1),
        ([1, 2, 2, 2], {}, 2, 2),
        ([1, 2, 3, 4, 5], {}, 0, 1),  # nobody has made 5
        ([1, 3], {"suppressed": 2}, 0, 0),
        ([1, 3], {"suppressed": 1}, 1, 0),
        ([1, 3], {"suppressed": 3}, 0, 1),
        ([1], {"suppressed": 1, "buffered": 1, "declared_lost": 1}, 0, 0),
        ([], {"buffered": 4}, 0, 0),
        ([], {}, 4, 0),
    ],
)
def test_an_account_of_four_readings(stored, others, missing, duplicates):
    account = judge(range(1, 5), stored, **others)
    assert (account.missing, account.duplicates) == (missing, duplicates)


def test_accounts_add_up_and_say_what_is_wrong():
    total = judge(range(1, 4), [1, 2]) + judge([7], [7, 7])
    assert total == Account(made=4, stored=3, missing=1, duplicates=1)
    assert total.equation() == ("4 made = 3 stored + 0 suppressed + 0 buffered + 0 declared lost; 1 missing, 1 twice")
