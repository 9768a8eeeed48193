"""Programs that know nothing of this project, and keep their keys in a Key Vault: unmodified, against the server.

MongoDB's client-side encryption, Azure Storage's, the signer of TUF and in-toto, and pydantic's settings.
"""

import sys

import blob_cases
import mongo_cases
import program_cases
from clients import execute

if __name__ == "__main__":
    sys.exit(execute([mongo_cases, blob_cases, program_cases]))
