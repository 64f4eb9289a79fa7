"""Faults of earlier implementations can be put back (``make faults``): their code has not moved away."""

import pytest
from put_faults_back import FAULTS, ROOT


@pytest.mark.parametrize(("test", "replacements"), FAULTS.values(), ids=FAULTS.keys())
def test_the_code_of_a_fault_is_where_it_is_looked_for(test, replacements):
    file, _, name = test.partition("::")
    assert name.split("[")[0] in (ROOT / file).read_text()
    for path, old, _ in replacements:
        assert (ROOT / path).read_text().count(old) == 1, old
