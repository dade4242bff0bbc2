"""What was made from an annotation follows it when it is dropped.

A triplet names in `parents` the region whose box it has, a composed text the regions and text
regions that it speaks of. If one of these is dropped, by whatever stage, the rules here apply:

- If it lives on in a kept annotation of the same name (fused, moved, found again), the link is set
  to that one.
- Otherwise the triplet or the text is dropped, and with a text its triplets.
- A triplet that a round's model has found again was seen by two witnesses. It is dropped only if
  its region lives on under another name.

The stages that compose texts then write a new one from what is kept. A text that a model wrote from
the image has no such parents: it is a witness of its own, and the text filter decides about it.
Human annotations are never dropped.

The rules run in the region filter, and on every record before it is published. So they hold in each
round whatever filters a run has.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from pipeline.schema import Annotation, Annotations, Region, Text, TextRegion, Triplet

VERSION = 2
"""Raised when the rules give another result."""
REGION_DROPPED = "region_dropped"
TEXT_DROPPED = "text_dropped"
FUSED = "fused"
# A model has found the same thing at another place.
RESHAPED = "reshaped"
# A model has found the same thing at the same place, so its own label is not needed.
AGREES = "agrees"
# Why an annotation is dropped although its successor has the same name.
CONTINUED = (FUSED, RESHAPED)

Place = Region | TextRegion
Linked = TypeVar("Linked", Text, Triplet)


def follow(annotations: Annotations) -> Annotations:
    """The texts and triplets of a sample that must be revised, because of what is dropped."""
    links = _Links(annotations)
    texts = []
    for text in annotations.texts:
        revised = links.revised_text(text)
        if revised is not text:
            texts.append(revised)
    kept_texts = {text.id for text in annotations.texts if text.dropped is None}
    kept_texts -= {text.id for text in texts if text.dropped is not None}
    triplets = []
    for triplet in annotations.triplets:
        revised_triplet = links.revised_triplet(triplet, kept_texts)
        if revised_triplet is not triplet:
            triplets.append(revised_triplet)
    return Annotations(texts=texts, triplets=triplets)


class _Links:
    """What the annotations of one sample were made from."""

    def __init__(self, annotations: Annotations) -> None:
        self._places: dict[str, Place] = {}
        for region in annotations.regions:
            self._places[region.id] = region
        for text_region in annotations.text_regions:
            self._places[text_region.id] = text_region
        self._gone = {place.id for place in self._places.values() if place.dropped is not None}
        self._triplets = {triplet.id: triplet for triplet in annotations.triplets}
        self._confirmed = _parents(annotations.triplets, AGREES)
        continued = {each.id for each in annotations.triplets if each.dropped in CONTINUED}
        # A triplet that was made from none of these remains as it is.
        self._changed = self._gone | continued
        self._successors = _successors(self._places)

    def revised_text(self, text: Text) -> Text:
        """A text as it must be: dropped if one of its places is gone, else with true links."""
        if text.dropped is not None or text.locked:
            return text
        for parent in text.parents:
            place = self._places.get(parent)
            if place is not None and self._standing(place, _words(place)) is None:
                return replace(text, dropped=REGION_DROPPED)
        return self._relinked(text)

    def revised_triplet(self, triplet: Triplet, kept_texts: set[str]) -> Triplet:
        """A triplet as it must be: dropped if its text or all its places are gone."""
        if triplet.dropped is not None or triplet.locked:
            return triplet
        if triplet.text_id not in kept_texts:
            return replace(triplet, dropped=TEXT_DROPPED)
        if self._changed.isdisjoint(triplet.parents):
            return triplet
        places = self._places_of(triplet)
        if self._are_gone(places) and (self._renames(places) or not self._found_again(triplet)):
            return replace(triplet, dropped=REGION_DROPPED)
        return self._relinked(triplet)

    def _found_again(self, triplet: Triplet) -> bool:
        """Whether a round's model has found the phrase, at the same place or at another one."""
        if triplet.id in self._confirmed:
            return True
        before = [self._triplets[id_] for id_ in triplet.parents if id_ in self._triplets]
        return any(old.dropped == RESHAPED or self._found_again(old) for old in before)

    def _renames(self, places: Sequence[Place]) -> bool:
        """Whether one of the places lives on; if all are gone, it does so under another name."""
        return any(place.id in self._successors for place in places)

    def _places_of(self, triplet: Triplet) -> list[Place]:
        """The places that a triplet was made from, or the triplet that it continues."""
        places: list[Place] = []
        for parent in triplet.parents:
            before = self._triplets.get(parent)
            if parent in self._places:
                places.append(self._places[parent])
            elif before is not None and before.dropped in CONTINUED:
                places += self._places_of(before)
        return places

    def _are_gone(self, places: Sequence[Place]) -> bool:
        """Whether there are places, and each of them is gone."""
        for place in places:
            if place.dropped is None or self._standing(place, _name(place)) is not None:
                return False
        return bool(places)

    def _standing(self, place: Place, name: Hashable) -> Place | None:
        """The place, or a kept one of the same name in which it lives on; None if it is gone."""
        if place.dropped is None:
            return place
        for successor in self._successors.get(place.id, ()):
            if name in (_name(successor), _words(successor)):
                return successor
        return None

    def _relinked(self, item: Linked) -> Linked:
        """The item with links to the successors of its places; the same object if none changes."""
        if self._gone.isdisjoint(item.parents):
            return item
        parents = []
        for parent in item.parents:
            place = self._places.get(parent)
            standing = self._standing(place, _name(place)) if place is not None else None
            parents.append(parent if standing is None else standing.id)
        if parents == item.parents:
            return item
        return replace(item, parents=parents)


def _parents(triplets: Sequence[Triplet], reason: str) -> set[str]:
    """The ids of the parents of the triplets that were dropped for a reason."""
    parents: set[str] = set()
    for triplet in triplets:
        if triplet.dropped == reason:
            parents.update(triplet.parents)
    return parents


def _name(place: Place) -> Hashable:
    """What a place is called: the category of a region, the string of a text region."""
    return place.phrase if isinstance(place, Region) else place.text


def _words(place: Place) -> Hashable:
    """The words that a composed text uses for a place."""
    if isinstance(place, Region):
        return place.phrase, place.brief
    return place.text


def _successors(places: Mapping[str, Place]) -> dict[str, list[Place]]:
    """For each dropped place the kept ones that descend from it."""
    successors: dict[str, list[Place]] = {}
    for place in places.values():
        if place.dropped is None and place.parents:
            for ancestor in _ancestors(place, places):
                successors.setdefault(ancestor, []).append(place)
    return successors


def _ancestors(item: Annotation, places: Mapping[str, Place]) -> list[str]:
    """The ids of the places that an annotation was made from, and of those that they were."""
    found: dict[str, None] = {}
    todo = list(item.parents)
    while todo:
        parent = todo.pop(0)
        if parent in places and parent not in found:
            found[parent] = None
            todo += places[parent].parents
    return list(found)
