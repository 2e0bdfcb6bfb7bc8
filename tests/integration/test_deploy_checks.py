"""What takes a tool or some seconds to tell about the deployment's files."""

import subprocess
import sys

from devtools.cloudformation import MESSAGING, SERVICE


def test_cfn_lint_has_nothing_to_say() -> None:
    cfn_lint = "from cfnlint.runner import main; raise SystemExit(main())"  # it has no __main__

    ran = subprocess.run(
        [sys.executable, "-c", cfn_lint, "--regions", "us-east-1", "--template", str(MESSAGING), str(SERVICE)],
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert ran.stdout + ran.stderr == ""
    assert ran.returncode == 0
