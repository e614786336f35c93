"""scikit-learn: the checks of `check_estimator` that need no table, a pipeline, a grid search, names of the columns.

`check_estimator` itself runs nothing on an estimator whose input is no table: HashingVectorizer is in the same case.
"""

import pickle

import numpy as np
import pytest

from kit.packages import package
from kit.vectors import close

IronvecTransformer = package("ironvec.integrations.sklearn").IronvecTransformer
base = package("sklearn.base")
checks = package("sklearn.utils.estimator_checks")
exceptions = package("sklearn.exceptions")
LogisticRegression = package("sklearn.linear_model").LogisticRegression
GridSearchCV = package("sklearn.model_selection").GridSearchCV
make_pipeline = package("sklearn.pipeline").make_pipeline

WITHOUT_A_TABLE = [
    "check_estimator_cloneable", "check_estimator_tags_renamed", "check_valid_tag_types", "check_estimator_repr",
    "check_no_attributes_set_in_init", "check_do_not_raise_errors_in_init_or_set_params", "check_mixin_order",
    "check_parameters_default_constructible", "check_get_params_invariance", "check_set_params",
    "check_estimators_unfitted",
]  # fmt: skip


def test_check_estimator_says_that_it_cannot_test_texts(folder):
    with pytest.warns(exceptions.SkipTestWarning, match="requires input"):
        results = checks.check_estimator(IronvecTransformer(folder))
    assert {result["status"] for result in results} == {"passed"}


@pytest.mark.parametrize("check", WITHOUT_A_TABLE)
def test_conventions(folder, check):
    getattr(checks, check)("IronvecTransformer", IronvecTransformer(folder))


def test_vectors_and_names_of_their_columns(folder, expected):
    transformer = IronvecTransformer(folder)
    for texts in (expected.texts, tuple(expected.texts), np.array(expected.texts, dtype=object)):
        found = transformer.fit_transform(texts)
        assert found.dtype == np.float32
        close(found, expected.plain)
    assert transformer.transform([]).shape == (0, 32)
    names = transformer.get_feature_names_out()
    assert (names[0], len(names)) == ("ironvectransformer0", 32)
    frame = transformer.set_output(transform="pandas").transform(expected.texts)
    assert list(frame.columns) == list(names)
    close(IronvecTransformer(folder, prompt_name="query").fit_transform(expected.texts), expected.query)


def test_what_is_no_list_of_texts_is_refused(folder, expected):
    transformer = IronvecTransformer(folder).fit()
    with pytest.raises(TypeError, match="X is one str"):
        transformer.transform("the cat sat")
    with pytest.raises(TypeError, match=r"shape \(1, 4\)"):
        transformer.transform(np.array([expected.texts]))
    with pytest.raises(FileNotFoundError, match="no-such-model"):
        IronvecTransformer("no-such-model").fit(expected.texts)


@pytest.mark.parametrize("fitted", [True, False])
def test_it_pickles_by_name(folder, expected, fitted):
    transformer = IronvecTransformer(folder, options={"truncate_dim": 16})
    data = pickle.dumps(transformer.fit() if fitted else transformer)
    assert len(data) < 1000
    assert pickle.loads(data).fit(None).transform(expected.texts).shape == (4, 16)
    assert base.clone(transformer).get_params() == transformer.get_params()


def test_a_grid_search_over_a_pipeline_in_two_processes(folder):
    texts = ["the cat sat", "a dog sat on the mat", "cook pasta", "boil water"] * 5
    labels = ["animals", "animals", "kitchen", "kitchen"] * 5
    pipeline = make_pipeline(IronvecTransformer(folder), LogisticRegression(C=100))
    grid = {"ironvectransformer__options": [{"truncate_dim": 1}, {"truncate_dim": 32}]}
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=2).fit(texts, labels)
    assert search.best_params_ == {"ironvectransformer__options": {"truncate_dim": 32}}
    assert search.score(texts, labels) == 1.0
