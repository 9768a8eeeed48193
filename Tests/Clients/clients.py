"""The official clients of Azure Key Vault, unmodified, against the server on two kinds of key provider."""

import logging
import os
import signal
import sys
import time
import unittest

import restart_cases
from deployment import ClientTest, Deployment

def suite(deployment, modules):
    """The modules' tests, each class bound to the deployment."""
    found = unittest.TestSuite()
    loader = unittest.TestLoader()
    for module in modules:
        for name, case in sorted(vars(module).items()):
            # Not those that a module has from another.
            if isinstance(case, type) and issubclass(case, ClientTest) and case.__module__ == module.__name__:
                bound = type(f"{name} on {deployment.name}", (case,), {"deployment": deployment})
                found.addTests(loader.loadTestsFromTestCase(bound))
    return found


def run(deployment, modules, totals):
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=0, warnings="ignore").run(suite(deployment, modules))
    failed = len({case.id() if hasattr(case, "id") else str(case) for case, _ in result.failures + result.errors})
    totals["failed"] += failed
    totals["passed"] += result.testsRun - failed - len(result.skipped)
    for case, reason in result.skipped:
        print(f"left out on {deployment.name}: {case.id().rsplit('.', 1)[-1]}: {reason}")


def execute(modules):
    """Runs the modules' tests on each deployment, with the restart that follows, and prints what ran."""
    # The one exception that a test's end does not swallow.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for name in [name for name in os.environ if name.startswith(("AZURE_", "IDENTITY_", "MSI_"))]:
        del os.environ[name]
    # What the SDK could not do here and did at the server, which is what some tests are for.
    logging.getLogger("azure").setLevel(logging.CRITICAL)
    totals = {"passed": 0, "failed": 0}
    deployments = [Deployment("file"), Deployment("token")]
    try:
        for deployment in deployments:
            begin = time.monotonic()
            deployment.start()
            run(deployment, modules, totals)
            restart_cases.leave(deployment)
            if deployment.stop() != 0:
                print(f"the server '{deployment.name}' did not end well")
                totals["failed"] += 1
            deployment.start("--config", os.path.join(deployment.folder, "keycustody.json"))
            run(deployment, [restart_cases], totals)
            deployment.stop()
            seconds = time.monotonic() - begin
            what = "on SoftHSM" if deployment.has_token else "in files"
            print(f"vault keys {what}: {deployment.checks} checks in {seconds:.0f} s", flush=True)
    finally:
        for deployment in deployments:
            deployment.stop()
    print(f"{totals['passed']} passed, {totals['failed']} failed")
    return 1 if totals["failed"] else 0


if __name__ == "__main__":
    import client_cases
    import cryptography_cases
    import identity_cases
    import key_cases
    import secret_cases
    import wire_cases

    sys.exit(execute([key_cases, cryptography_cases, secret_cases, identity_cases, client_cases, wire_cases]))
