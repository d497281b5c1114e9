"""Makes everything that a release consists of: `python -m release`, behind `make release`.

Image archives for each platform, the Windows bundle, deployment manifests, bills of materials, licences and checksums.
Nothing here talks to a hoster: publishing is the business of the workflow that runs this.
"""
