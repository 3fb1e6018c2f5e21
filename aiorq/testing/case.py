"""For `unittest`, and for what is built upon it, as Django's test cases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiorq.testing.sandbox import Sandbox

if TYPE_CHECKING:
    from unittest import TestCase

    _Base = TestCase
else:
    _Base = object


class SandboxMixin(_Base):
    """Gives each test a sandbox, `self.aiorq`. It stands before the test case's class:

        class TestMail(SandboxMixin, unittest.IsolatedAsyncioTestCase):
            async def test_letter(self):
                await write_to("Ada")
                self.aiorq.assert_enqueued(send, args=["Ada"])
                await self.aiorq.work()

    A `TestCase` that does not await uses `self.aiorq.sync`.
    """

    aiorq: Sandbox
    """The sandbox of the test."""

    def make_sandbox(self) -> Sandbox:
        """Make the sandbox of a test; for classes that want another one."""
        return Sandbox()

    def setUp(self) -> None:  # noqa: D102 - unittest's name
        self.aiorq = self.enterContext(self.make_sandbox())
        super().setUp()
