"""Examines certificates and keys in this process: for a command, which serves nobody else."""

from collections.abc import Mapping, Sequence

from tasks_server.domain.certificates import Certificates, Examined


class ExaminedHere:
    """Implements `service.ground.Examiner`."""

    async def examine(self, owner: str, asked: Sequence[Certificates]) -> Mapping[Certificates, Examined]:
        from tasks_server.engine.certificates.opening import examine_all  # loads cryptography's parts for it

        return dict(zip(asked, examine_all(asked), strict=True))
