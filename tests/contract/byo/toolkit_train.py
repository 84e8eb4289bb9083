"""Foreign peer: runs a job's program with sagemaker-training's own pieces, in the order of its `train` command."""

import os
import sys

sys.modules["tensorflow"] = None  # type: ignore[assignment] # the toolkit would import it, for names of errors only

from sagemaker_training import environment, errors, files, process  # noqa: E402

job = environment.Environment()
try:
    files.download_and_extract(job.module_dir, environment.code_dir)
    process.validate_entry_point(job.user_entry_point)
    variables = job.to_env_vars()
    environment.write_env_vars(variables)
    os.environ["USE_SMDEBUG"] = "0"
    process.ProcessRunner(job.user_entry_point, job.to_cmd_args(), variables, 1).run(capture_error=True)
except errors.ClientError as error:
    files.write_failure_file(str(error))
    sys.exit(1)
files.write_success_file()
