"""Mutation testing: a test suite that lets a change of the code pass has a gap there. `make mutants`.

`making` changes a file in one place, in an environment where mutmut is installed. `running` tries the tests of the
rooms on each change. What survives is named in explained.toml, with the reason; `explaining` compares.
"""
