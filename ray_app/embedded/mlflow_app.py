"""MLflow's server in one process: its own application under uvicorn.

`mlflow server` keeps a second process of 240 MB that only waits for the first, and takes twice the
imports to come up. Run as `python -m ray_app.embedded.mlflow_app STORE ARTIFACTS PORT`.
"""

import os
import sys


def main(store: str, artifacts: str, port: int) -> None:
    """Migrate the store, then serve until SIGTERM.

    Args:
        store: URI of the backend and registry store.
        artifacts: Folder of the artifacts, which clients reach through the server.
        port: Where to listen on loopback.
    """
    # MLflow reads these while its modules are imported, and turns its host checks on when uvicorn
    # is there: therefore before the import.
    os.environ |= {
        "_MLFLOW_SERVER_FILE_STORE": store,
        "_MLFLOW_SERVER_REGISTRY_STORE": store,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": artifacts,
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SGI_NAME": "uvicorn",
    }
    import uvicorn
    from mlflow.server.fastapi_app import app
    from mlflow.server.handlers import initialize_backend_stores

    initialize_backend_stores(store, store, "mlflow-artifacts:/")
    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_level="warning")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
