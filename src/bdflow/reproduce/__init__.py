"""The paper's tables and figures, measured: `plans` says what of, `run` measures, `page` writes it up.

`sets` finds the pictures, `entries` the methods, each with its `facts`; `results` is the file that a run
continues from, `known` what it need not measure again. `curves`, `tables`, `figures` and `sheets` only draw
what such files hold. `published.toml` holds what others printed.
"""
