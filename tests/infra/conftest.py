"""Loads the AWS SDK once: importing its S3 module warns of every deprecated name in it, used or not."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import pulumi_aws

    pulumi_aws.s3.Bucket  # noqa: B018 - the attribute access is the import
