"""The model hub: asked once, for some seconds, whether it has a model; without a network its cache is read alone.

The library itself tries each of a model's files six times with growing pauses, which took 2 min 20 s to fail.
"""

from __future__ import annotations

from optical.errors import DataError

SECONDS = 5.0  # that the hub has to answer


def only_cached(name: str) -> bool:
    """Tell whether a hub model has to be read from the cache alone, because the hub does not answer.

    Raises:
        DataError: The hub has no such model, or does not answer and the cache has none.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, RepositoryNotFoundError

    try:
        HfApi().model_info(name, timeout=SECONDS)
    except GatedRepoError:
        return False  # the library says what to accept
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise DataError(
            f"{name}: no such folder, packaged teacher or model of the hub; name the folder of a saved encoder, or a "
            "hub id"
        ) from error
    except HfHubHTTPError:
        return False  # it answers
    except Exception as error:  # whatever the HTTP library of the day raises without a network
        cached = (try_to_load_from_cache(name, file) for file in ("config.json", "modules.json"))
        if not any(isinstance(path, str) for path in cached):
            raise DataError(
                f"{name}: no such folder or packaged teacher, and the model hub cannot be asked "
                f"({type(error).__name__}); name the folder of a saved encoder, or connect to a network"
            ) from error
        return True
    return False
