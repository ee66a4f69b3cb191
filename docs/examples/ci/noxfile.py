import nox


@nox.session
def tests(session):
    session.install("pytest")
    session.run("cgrun", "pytest", "-q", *session.posargs, external=True)
