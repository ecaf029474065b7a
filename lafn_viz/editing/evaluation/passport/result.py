"""An edit's passport as a value, as a file and as a page."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lafn_viz.core.arguments import a_path, takes
from lafn_viz.core.files import write_json, write_utf8, write_whole
from lafn_viz.core.json_records import FactError, as_object, parsed, read_as, read_text
from lafn_viz.core.messages import listed
from lafn_viz.editing.evaluation.passport.page import page
from lafn_viz.editing.evaluation.passport.tables import PassportTables

_FORMAT = "lafn_viz passport"


@dataclass(frozen=True, repr=False)
class Passport(PassportTables):
    """What one edit, or several of the same fact, change in a model.

    `edits` names them and says what they are. `left_out` says by kind why questions are missing.
    """

    @takes(path=a_path)
    def save(self, path: str | Path) -> None:
        """Write the passport to a JSON file, which is there as a whole or not at all."""
        write_json(Path(path), {"format": _FORMAT, **asdict(self)})

    @classmethod
    @takes(path=a_path)
    def load(cls, path: str | Path) -> "Passport":
        """Read a passport that `save` wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            FactError: for a file that holds something else, naming the first field that is wrong.
        """
        where = str(path)
        record = as_object(where, parsed(where, read_text(Path(path))))
        if record.pop("format", None) != _FORMAT:
            raise FactError(f"{where} is no passport; give a file that Passport.save wrote")
        loaded: Passport = read_as(where, record, cls)
        loaded._require_whole(where)
        return loaded

    def _require_whole(self, where: str) -> None:
        """Refuse a file whose questions or texts are not all of the same edits."""
        acting = {edit for asked in self.questions for edit in asked.fires}
        given: list[tuple[str, int, Mapping[str, Any], Collection[str]]] = []
        for number, asked in enumerate(self.questions, 1):
            given.append(("questions", number, asked.after, self.edits))
            given.append(("questions", number, asked.fires, acting & set(self.edits)))
        for number, text in enumerate(self.damage, 1):
            given.append(("damage", number, text.divergence, self.edits))
            given.append(("damage", number, text.changed, self.edits))
        for name, number, by_edit, expected in given:
            if set(by_edit) != set(expected):
                found, wanted = listed(by_edit) or "none", listed(expected) or "none"
                raise FactError(
                    f"{where}, field {name!r}, item {number}: it is of the edits {found}, and the "
                    f"passport of {wanted}; make it anew"
                )

    def to_html(self) -> str:
        """The passport as one self-contained page, without scripts and for light and dark."""
        return page(self)

    @takes(path=a_path)
    def save_page(self, path: str | Path) -> None:
        """Write the page to a file, which is there as a whole or not at all."""
        html = self.to_html()
        write_whole(Path(path), lambda beside: write_utf8(beside, html))
