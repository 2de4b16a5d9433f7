"""Flows are found by the module that declares them; a module that cannot be imported is one error."""

import pytest

from otelflow.errors import TargetNotFound, TargetNotImportable
from otelflow.generate import generate_alerts


@pytest.mark.parametrize(
    ("module", "error", "complaint"),
    [
        ("no_such_flows", TargetNotFound, "There is no module 'no_such_flows'"),
        ("shop_flows.orders", TargetNotFound, "There is no module 'shop_flows.orders'"),
        ("shop_flows.py", TargetNotFound, "There is no module 'shop_flows.py'; did you mean 'shop_flows'?"),
        ("", TargetNotFound, "is no module"),
        ("..", TargetNotFound, "is no module"),
        ("broken_flows", TargetNotImportable, "No module named 'no_such_package_anywhere'"),
        ("raising_flows", TargetNotImportable, "ZeroDivisionError"),
        ("leaving_flows", TargetNotImportable, "SystemExit"),
    ],
)
def test_a_module_that_does_not_import_is_one_error_that_names_it(shop, module, error, complaint):
    with pytest.raises(error) as raised:
        generate_alerts([module])

    assert complaint in str(raised.value)
