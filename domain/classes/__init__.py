"""Machine classes that come with the platform, one TOML file each."""
