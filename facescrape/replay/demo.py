"""The replay world of ``python -m facescrape.run demo``: rendered people, or photographs at hand, being served."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from facescrape.replay.folder import FolderPeople
from facescrape.replay.rendered import RenderedPeople
from facescrape.replay.server import ReplayServer, serve
from facescrape.replay.world import World
from facescrape.web.wire import Replay
from pipelines.executors import Executor


@dataclass(frozen=True, slots=True)
class Demo:
    """A world that is being served.

    Attributes:
        world: knows the truth.
        server: counts the requests.
    """

    world: World
    server: ReplayServer

    @property
    def wire(self) -> Replay:
        """The wire that leads every URL to it."""
        return self.server.wire

    @property
    def people(self) -> int:
        """How many have photographs."""
        return self.world.people

    @property
    def images_per_person(self) -> int:
        """The most photographs of one."""
        return self.world.images_per_person


@contextmanager
def serve_demo(
    photos: Path | None,
    people: int,
    images_per_person: int,
    folder: Path,
    executor: Executor,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Demo]:
    """Serve a world for as long as the block lasts.

    Args:
        photos: a folder of photographs per person; None: they are rendered, which is done before anything is served.
        people: how many are rendered.
        images_per_person: how many photographs of each are.
        folder: where pictures that are rendered, and the truth about all, are kept; see `World.prepare`.
        executor: renders.
        progress: called with the pictures rendered and all pictures.

    Raises:
        CleanshardsError: there are no photographs, or ``folder`` is taken.
    """
    world = World(RenderedPeople(0, people, images_per_person) if photos is None else FolderPeople(photos))
    world.prepare(folder, executor, progress)
    with serve(world) as server:
        yield Demo(world, server)
