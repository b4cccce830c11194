"""Loading: the files of a data set as one table. Imports pandas, so it is imported only after the data version."""

from collections.abc import Sequence

import pandas as pd  # type: ignore[import-untyped]

from retrain_trainer import synthetic
from retrain_trainer.contract import Failure, Reason
from retrain_trainer.dataversion import DataFile, DataSet, is_gzip

PARSE_ERRORS = (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, EOFError, ValueError, OSError)


def load(data_set: DataSet, text: Sequence[str] = ()) -> pd.DataFrame:
    """All rows, files in the order of their paths, column names as strings. Raises Failure (exit 3).

    `text` names columns of CSV that are text although they may look like numbers.
    """
    if data_set.format == "sklearn":
        from sklearn import datasets  # type: ignore[import-untyped]

        frame = getattr(datasets, "load_" + data_set.name)(as_frame=True).frame
        data_set.check_unchanged()
        return frame
    if data_set.format == "synthetic":
        return synthetic.generate(synthetic.parse(data_set.uri))
    frames = [_read(file, data_set.format, text) for file in data_set.files]
    data_set.check_unchanged()
    columns = list(frames[0].columns)
    for file, frame in zip(data_set.files, frames, strict=True):
        if set(frame.columns) != set(columns):
            differing = sorted(set(frame.columns) ^ set(columns))[:5]
            raise Failure(Reason.DATA_UNREADABLE, f"{file.path} has other columns than {data_set.files[0].path}: {differing}")
    return pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]


def _read(file: DataFile, data_format: str, text: Sequence[str]) -> pd.DataFrame:
    try:
        with open(file.local_path, "rb") as content:  # by handle: a path would add columns for folders such as day=1
            if data_format == "parquet":
                frame = pd.read_parquet(content)
            else:
                compression = "gzip" if is_gzip(file.local_path) else None
                # In one piece: types guessed piece by piece would depend on where the pieces end.
                frame = pd.read_csv(content, compression=compression, low_memory=False, dtype=dict.fromkeys(text, str))
    except PARSE_ERRORS as error:
        raise Failure(Reason.DATA_UNREADABLE, f"{file.path} is not {data_format}: {type(error).__name__}: {error}") from error
    frame.columns = frame.columns.map(str)
    return frame
