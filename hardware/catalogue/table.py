"""What every table of a device file shares."""

from pydantic import BaseModel, ConfigDict, Field

Id = Field(pattern=r"^[A-Za-z0-9_-]+$")


class Table(BaseModel):
    """A table of the file: no unknown keys, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Name(Table):
    """What people call a thing, in the two languages."""

    en: str
    zh: str
