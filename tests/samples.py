"""Where the repository and its sample models lie."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "sample_models"
CNN, MLP, LSTM, TRANSFORMER, STUDENT = (
    SAMPLES / f"{name}.onnx" for name in ("cnn", "mlp", "lstm", "transformer", "cnn_student")
)
