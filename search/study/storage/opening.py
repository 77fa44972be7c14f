"""Opening a study where its configuration says that it is kept."""

from collections.abc import Mapping
from contextlib import AbstractContextManager

from search.config.study_config import StudyConfig
from search.study.journal import Journal
from search.study.journal_file import kept_objectives as objectives_in_file
from search.study.journal_file import open_journal, read_journal
from search.utils.secrets import from_environment


def open_study(config: StudyConfig) -> AbstractContextManager[Journal]:
    """Open a study, or begin it, and keep other drivers out while the block lasts.

    Raises:
        StudyError: Another driver has the study, it was begun with other settings, or what is kept
            of it is damaged, gone or out of reach.
    """
    if config.storage is None:
        return open_journal(config.folder, objectives=config.objectives, identity=config.identity())
    from search.study.storage.database import open_database

    return open_database(config, from_environment("storage", config.storage))


def read_study(config: StudyConfig) -> Journal:
    """Open a study that was begun, only to read it.

    Raises:
        StudyError: What is kept of it is damaged, gone or out of reach.
    """
    if config.storage is None:
        return read_journal(config.folder, config.objectives)
    from search.study.storage.database import read_database

    return read_database(config, from_environment("storage", config.storage))


def kept_objectives(config: StudyConfig) -> Mapping[str, str]:
    """Return the objectives with which a study has begun; none before that.

    Raises:
        ConfigError: The database that keeps it is out of reach.
    """
    if config.storage is None:
        return objectives_in_file(config.folder)
    from search.study.storage.database import objectives_in_database

    return objectives_in_database(config, from_environment("storage", config.storage))
